import { describe, expect, it } from 'vitest'
import { runCommand } from '../src/guest/command.ts'

describe('a command in the guest', () => {
  it('is answered with its code and all that it wrote', async () => {
    const { code, output } = await runCommand('echo out; echo err >&2; exit 3')
    expect(code).toBe(3)
    expect(output.split('\n').toSorted()).toEqual(['', 'err', 'out'])
  })

  it('that a signal ends has the code of a shell', async () => {
    expect((await runCommand('kill -BUS $$')).code).toBe(128 + 7)
  })

  it('is answered with the end of a long output', async () => {
    const { output } = await runCommand('seq 1 10000')
    expect(output).toHaveLength(8000)
    expect(output.endsWith('9999\n10000\n')).toBe(true)
  })
})
