// @vitest-environment node
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { vendored } from '../../scripts/vendor.mjs'

const root = `${join(import.meta.dirname, '..', '..')}/`
const below = (/** @type {string} */ folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length))

describe('what is shipped', () => {
  test('the vendored bytes are what the script makes from the lock file’s packages', async () => {
    const made = await vendored()
    const there = below('web/vendor').map((path) => path.slice('web/vendor/'.length))
    expect(there.sort()).toEqual([...made.keys()].sort())
    for (const [name, text] of made) expect(readFileSync(`${root}web/vendor/${name}`, 'utf8'), name).toBe(text)
  })

  test('ComfyUI imports every .js below web/, so there is one', () => {
    expect(below('web').filter((path) => path.endsWith('.js'))).toEqual(['web/librarian.js'])
  })

  test('modules import each other by relative paths that exist', () => {
    const modules = below('web').filter((path) => path.endsWith('.mjs') && !path.endsWith('.d.mts'))
    const there = new Set(modules)
    for (const path of modules) {
      const folder = new URL('.', `file:///${path}`)
      for (const [, wanted] of readFileSync(`${root}${path}`, 'utf8').matchAll(/^(?:import|export)[^'"`]*?from\s+['"]([^'"]+)['"]/gm)) {
        expect(wanted, path).toMatch(/^\.{1,2}\//)
        expect(there, `${path} imports ${wanted}`).toContain(new URL(/** @type {string} */ (wanted), folder).pathname.slice(1))
      }
    }
  })

  test('the lock file names no registry', () => {
    expect(readFileSync(`${root}package-lock.json`, 'utf8')).not.toContain('"resolved"')
  })
})
