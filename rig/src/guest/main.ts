import { runCommand } from './command.ts'
import { GrantedPages, openGranting } from './granted-pages.ts'
import { copy, serveMailbox } from './mailbox.ts'
import { mailboxFrames } from './memory-layout.ts'
import { type GuestRequest, isGuestRequest } from './requests.ts'
import { mapReservedMemory } from './reserved-memory.ts'

const pageBytes = 4096

const memory = mapReservedMemory()
// Whatever lay there when the machine booted.
const words = new Uint32Array(memory)
for (let index = 0; index < words.length; index += 1) words[index] = 0
const granting = openGranting()
const grants = new Map<number, GrantedPages>()
const end = new AbortController()
let lastGrant = 0

function handle(request: GuestRequest): unknown {
  switch (request.do) {
    case 'grant': {
      const { count, to, writable } = request
      const pages = new GrantedPages(granting, count, to, writable)
      lastGrant += 1
      grants.set(lastGrant, pages)
      return { grant: lastGrant, references: pages.references }
    }
    case 'revoke':
      grantOf(request.grant).revoke()
      grants.delete(request.grant)
      return null
    case 'read-granted': {
      const { grant, page, offset, length } = request
      return toHex(grantOf(grant).part(page, offset, length))
    }
    case 'write-granted': {
      const bytes = fromHex(request.bytes)
      copy(bytes, grantOf(request.grant).part(request.page, request.offset, bytes.length))
      return null
    }
    case 'read-frame':
      return toHex(reserved(request.frame, request.offset, request.length))
    case 'write-frame': {
      const bytes = fromHex(request.bytes)
      copy(bytes, reserved(request.frame, request.offset, bytes.length))
      return null
    }
    case 'run':
      return runCommand(request.command)
    case 'power-off':
      end.abort()
      return null
  }
}

function grantOf(number: number): GrantedPages {
  const pages = grants.get(number)
  if (pages === undefined) throw new Error(`there is no grant ${number}`)
  return pages
}

function reserved(frame: number, offset: number, length: number): Uint8Array {
  return new Uint8Array(memory, (frame - mailboxFrames.first) * pageBytes + offset, length)
}

function toHex(bytes: Uint8Array): string {
  const copied = Buffer.alloc(bytes.length)
  copy(bytes, copied)
  return copied.toString('hex')
}

function fromHex(digits: string): Uint8Array {
  return Buffer.from(digits, 'hex')
}

await serveMailbox(
  memory,
  (request) => {
    if (!isGuestRequest(request)) throw new Error(`not a request: ${JSON.stringify(request)}`)
    return handle(request)
  },
  end.signal,
)
