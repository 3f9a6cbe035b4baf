import { describe, expect, test } from 'vitest'
import { GRANT_STATUSES, grantStatusMeaning, grantStatusName } from '../src/index.ts'

describe('GRANT_STATUSES', () => {
  test('are the 14 of the public header, in the order of their numbers', () => {
    expect(GRANT_STATUSES.map(({ status, name }) => [status, name])).toEqual([
      [0, 'GNTST_okay'],
      [-1, 'GNTST_general_error'],
      [-2, 'GNTST_bad_domain'],
      [-3, 'GNTST_bad_gntref'],
      [-4, 'GNTST_bad_handle'],
      [-5, 'GNTST_bad_virt_addr'],
      [-6, 'GNTST_bad_dev_addr'],
      [-7, 'GNTST_no_device_space'],
      [-8, 'GNTST_permission_denied'],
      [-9, 'GNTST_bad_page'],
      [-10, 'GNTST_bad_copy_arg'],
      [-11, 'GNTST_address_too_big'],
      [-12, 'GNTST_eagain'],
      [-13, 'GNTST_no_space'],
    ])
  })
})

describe('grantStatusName and grantStatusMeaning', () => {
  test('name a status and say what it means', () => {
    expect(grantStatusName(-13)).toBe('GNTST_no_space')
    expect(grantStatusMeaning(-13)).toBe("the caller's map-track table is full: unmap something")
  })

  test.each([-14, 1, 0.5])('do not invent a name for %d', (status) => {
    expect(grantStatusName(status)).toBe(`GNTST ${status}`)
    expect(grantStatusMeaning(status)).toBe(
      'Xen gave a status that its public header does not name',
    )
  })
})
