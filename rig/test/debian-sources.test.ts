import { describe, expect, it } from 'vitest'
import { parseSourceVersions, sourcesOfSources } from '../src/host/artefacts/debian-sources.ts'

describe('parseSourceVersions', () => {
  it('takes each version once, the newest first', () => {
    const records = [
      'Package: xen',
      'Version: 4.17.5+72-g01140da4e8-1',
      '',
      'Package: xen',
      'Version: 4.17.10+1-1',
      'Standards-Version: 4.6.2',
      '',
      'Package: xen',
      'Version: 4.17.5+72-g01140da4e8-1',
    ].join('\n')
    expect(parseSourceVersions(records)).toEqual(['4.17.10+1-1', '4.17.5+72-g01140da4e8-1'])
  })
})

describe('sourcesOfSources', () => {
  it('turns both formats of apt into sources of source packages', () => {
    expect(
      sourcesOfSources('Types: deb\nURIs: http://mirror/debian\nSuites: bookworm\n# deb stays\n'),
    ).toBe('Types: deb-src\nURIs: http://mirror/debian\nSuites: bookworm\n# deb stays\n')
    expect(sourcesOfSources('deb [signed-by=/k] http://mirror bookworm main\n')).toBe(
      'deb-src [signed-by=/k] http://mirror bookworm main\n',
    )
  })

  it('leaves what is one already', () => {
    const sources = 'deb-src http://mirror bookworm main\nTypes: deb-src\n'
    expect(sourcesOfSources(sources)).toBe(sources)
    expect(sourcesOfSources('Types: deb deb-src\n')).toBe('Types: deb-src deb-src\n')
  })
})
