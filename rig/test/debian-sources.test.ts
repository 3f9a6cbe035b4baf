import { describe, expect, it } from 'vitest'
import { parseSourceVersions, sourcesOfSources } from '../src/host/artefacts/debian-sources.ts'

describe('parseSourceVersions', () => {
  it('gives every version once, the newest first', () => {
    const records = [
      'Package: xen\nVersion: 4.17.5+23-ga4e5191dc0-1\n',
      'Package: xen\nVersion: 4.17.5+72-g01140da4e8-1\n',
      'Package: xen\nVersion: 4.17.5+23-ga4e5191dc0-1\nStandards-Version: 4.6.2\n',
    ].join('\n')
    expect(parseSourceVersions(records)).toEqual([
      '4.17.5+72-g01140da4e8-1',
      '4.17.5+23-ga4e5191dc0-1',
    ])
  })

  it('gives none of nothing', () => {
    expect(parseSourceVersions('')).toEqual([])
  })
})

describe('sourcesOfSources', () => {
  it('turns lines of packages into lines of sources', () => {
    const text = '# deb of a comment\ndeb [arch=amd64] mirror bookworm main\ndebian\n'
    expect(sourcesOfSources(text)).toBe(
      '# deb of a comment\ndeb-src [arch=amd64] mirror bookworm main\ndebian\n',
    )
  })

  it('turns the types of the other format', () => {
    expect(sourcesOfSources('Types: deb\nURIs: mirror\n')).toBe('Types: deb-src\nURIs: mirror\n')
  })
})
