import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'

const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')

it('the example of the README runs as it stands', async () => {
  const [, example = ''] = /```ts\n(.*?)```/s.exec(readme) ?? []
  expect(example).toContain('new Hypervisor()')
  const folder = mkdtempSync(new URL('../node_modules/.example-', import.meta.url).pathname)
  try {
    const program = `${folder}/example.ts`
    writeFileSync(program, `${example}\nexport const frame = ring.page\n`)
    // Its own assertions throw when they fail.
    const ran: unknown = await import(pathToFileURL(program).href)
    expect(ran).toMatchObject({ frame: expect.any(Number) })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
