import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ArtefactCache, artefactName, cacheFolder } from '../src/host/artefacts/artefact-cache.ts'
import { temporaryFolder } from './helpers/temporary-folder.ts'

const nothing = async (): Promise<void> => {}

describe('ArtefactCache', () => {
  it('builds once from the same ingredients and again from others', async () => {
    const cache = new ArtefactCache(join(temporaryFolder(), 'cache'))
    let built = 0
    const build = async (folder: string): Promise<void> => {
      built += 1
      writeFileSync(join(folder, 'content'), String(built))
    }
    const first = await cache.artefact('kernel', { version: '6.1', options: ['a'] }, build)
    const again = await cache.artefact('kernel', { options: ['a'], version: '6.1' }, build)
    const other = await cache.artefact('kernel', { version: '6.1', options: ['b'] }, build)
    expect(built).toBe(2)
    expect(again).toBe(first)
    expect(other).not.toBe(first)
    expect(readFileSync(join(first, 'content'), 'utf8')).toBe('1')
    expect(readFileSync(join(other, 'content'), 'utf8')).toBe('2')
  })

  it('leaves nothing of a build that fails', async () => {
    const cache = new ArtefactCache(temporaryFolder())
    const failing = cache.artefact('kernel', {}, async (folder) => {
      writeFileSync(join(folder, 'half'), '')
      throw new Error('no compiler')
    })
    await expect(failing).rejects.toThrow('no compiler')
    expect(readdirSync(cache.folder)).toEqual([])
  })

  it('uses what another process has built meanwhile', async () => {
    const cache = new ArtefactCache(temporaryFolder())
    const theirs = await cache.artefact('kernel', { version: '1' }, async (mine) => {
      writeFileSync(join(mine, 'content'), 'mine')
      const folder = join(cache.folder, artefactName('kernel', { version: '1' }))
      mkdirSync(folder)
      writeFileSync(join(folder, 'content'), 'theirs')
    })
    expect(readFileSync(join(theirs, 'content'), 'utf8')).toBe('theirs')
    expect(readdirSync(cache.folder)).toHaveLength(1)
  })

  it('removes artefacts of a kind that nothing has used for a month', async () => {
    const cache = new ArtefactCache(temporaryFolder())
    const old = await cache.artefact('kernel', { version: '1' }, nothing)
    const older = await cache.artefact('kernel', { version: '2' }, nothing)
    const unlike = await cache.artefact('node', { version: '3' }, nothing)
    const then = new Date(Date.now() - 31 * 24 * 60 * 60 * 1000)
    for (const folder of [old, older, unlike]) utimesSync(folder, then, then)
    await cache.artefact('kernel', { version: '2' }, nothing)
    await cache.artefact('kernel', { version: '4' }, nothing)
    expect([old, older, unlike].map((folder) => existsSync(folder))).toEqual([false, true, true])
  })
})

describe('workFolder', () => {
  it('is new and empty, and what a killed process has left for days goes', async () => {
    const cache = new ArtefactCache(join(temporaryFolder(), 'cache'))
    const left = await cache.workFolder('run')
    const fresh = await cache.workFolder('run')
    const then = new Date(Date.now() - 25 * 60 * 60 * 1000)
    utimesSync(left, then, then)
    const next = await cache.workFolder('tree')
    expect(readdirSync(next)).toEqual([])
    expect([left, fresh].map((folder) => existsSync(folder))).toEqual([false, true])
  })
})

describe('artefactName', () => {
  it('is the kind and a digest of the ingredients', () => {
    expect(artefactName('kernel', { version: '6.1', smp: true })).toMatch(/^kernel-[0-9a-f]{16}$/)
    expect(artefactName('a', { x: '1', y: '' })).not.toBe(artefactName('a', { x: '', y: '1' }))
  })
})

describe('cacheFolder', () => {
  it('is named by XMC_CACHE_DIR, XDG_CACHE_HOME or the home', () => {
    expect(cacheFolder({ XMC_CACHE_DIR: '/x', XDG_CACHE_HOME: '/y' }, '/home/a')).toBe('/x')
    expect(cacheFolder({ XDG_CACHE_HOME: '/y' }, '/home/a')).toBe('/y/xmc')
    expect(cacheFolder({ XDG_CACHE_HOME: '' }, '/home/a')).toBe('/home/a/.cache/xmc')
  })
})
