import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ComparedFile, fileSha256 } from '../src/host-file.ts'
import { temporaryFile, temporaryFolder } from './helpers/command.ts'

describe('a file that is read by itself', () => {
  it('is not waited for where its path has become that of a FIFO', async () => {
    const path = join(temporaryFolder(), 'fifo')
    execFileSync('mkfifo', [path])
    await expect(fileSha256(path, 10)).rejects.toMatchObject({ code: 'ERR_XMC_DISK' })
    const compared = await ComparedFile.open(path)
    await expect(compared.compare(0, new Uint8Array(10))).rejects.toMatchObject({
      code: 'ERR_XMC_DISK',
    })
    await compared.close()
  })

  it('has the digest of its first bytes, or is too short', async () => {
    const path = temporaryFile(Buffer.from('abcdef'))
    expect(await fileSha256(path, 3)).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
    await expect(fileSha256(path, 7)).rejects.toMatchObject({ reason: 'truncated' })
  })
})
