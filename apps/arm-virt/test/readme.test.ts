import { readFileSync } from 'node:fs'
import * as armVirt from '@xmc/arm-virt'
import { describe, expect, test } from 'vitest'
import { runCommand } from './helpers/command.ts'

const readme = read('../README.md')

function read(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

describe('README', () => {
  test('its example is the one that is compiled here, and runs', async () => {
    const shown = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code)
    expect(shown).toEqual([read('examples/new-device.ts')])
    await expect(import('./examples/new-device.ts')).resolves.toBeDefined()
  })

  test('it names every export', () => {
    expect(Object.keys(armVirt).filter((name) => !readme.includes(`\`${name}`))).toEqual([])
  })

  test('it names every option, and the commands name no other', async () => {
    const helps = await Promise.all(
      ['serve', 'selftest', 'copy', 'mtree', 'stats', 'doctor'].map((command) =>
        runCommand([command, '--help']),
      ),
    )
    const options = new Set(
      helps.flatMap(({ stdout }) => stdout.match(/(?<= {2})--[a-z-]+/g) ?? []),
    )
    expect(options.size).toBeGreaterThan(10)
    expect([...options].filter((option) => !readme.includes(`\`${option}`))).toEqual([])
  })

  test('it names every code of an error of its own', () => {
    const codes = new Set(read('../src/errors.ts').match(/ERR_XMC_[A-Z_]+/g))
    expect([...codes].filter((code) => !readme.includes(`\`${code}\``))).toEqual([])
  })

  test('its picture of the address map is the one that is printed', async () => {
    const { stdout } = await runCommand(['mtree', '--flat', '--memory', '4G'])
    expect(readme).toContain(stdout.split('\n\n')[0])
  })
})
