// @ts-check
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

/** What starts a command in the middle of a sentence; alone, a name is no command. */
const inline = /`((?:[A-Z][A-Z_]*=\S+ )*(?:npm|npx|node|arm-virt)\s[^`]+)`/g

/** A block of a shell's lines. */
const block = /^```sh\n(.*?)^```$/gms

/**
 * Every command that a document of the repository names, with the documents that name it, in their order.
 *
 * @returns {Map<string, string[]>} documents by command, relative to the root
 */
export function readDocumentedCommands() {
  /** @type {Map<string, string[]>} */
  const commands = new Map()
  for (const document of documents()) {
    const text = readFileSync(join(root, document), 'utf8')
    const lines = [...text.matchAll(block)].flatMap(([, body = '']) => body.split('\n'))
    // A sentence may break the line in the middle of a command.
    const named = [...text.matchAll(inline)].map(([, command = '']) => command.replace(/\s+/g, ' '))
    for (const line of [...lines, ...named]) {
      // A comment is set off by spaces; a line that ends in & goes on beside the next.
      const command = line
        .replace(/(^| +)#.*$/, '')
        .replace(/ &$/, '')
        .trim()
      if (command === '') continue
      const places = commands.get(command) ?? []
      if (!places.includes(document)) places.push(document)
      commands.set(command, places)
    }
  }
  return commands
}

/** @returns {string[]} */
function documents() {
  const readmes = ['packages', 'apps'].flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => `${folder}/${name}/README.md`),
  )
  const guides = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => `docs/${path}`)
  return [
    'README.md',
    'CONTRIBUTING.md',
    ...readmes.toSorted(),
    'rig/README.md',
    'museum/README.md',
    ...guides.toSorted(),
  ]
}
