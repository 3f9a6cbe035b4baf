console.log('guest up')
