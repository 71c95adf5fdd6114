/**
 * Writes web/vendor/ from the packages that package-lock.json names.
 *
 *     npm ci && npm run vendor
 *
 * The browser runs these files as they are: no build step stands between the repository and the
 * page. A test holds that the committed bytes are exactly what `vendored()` makes.
 */
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const PACKAGES = join(ROOT, 'node_modules')
const TARGET = join(ROOT, 'web', 'vendor')

const HTM_TYPES = `// The bundle ships no types; these are Preact's own, as far as the bundle exports them.
import type { VNode } from 'preact'
export { h, render, Component, createContext } from 'preact'
export {
  useState, useReducer, useEffect, useLayoutEffect, useRef, useImperativeHandle, useMemo,
  useCallback, useContext, useDebugValue, useErrorBoundary
} from 'preact/hooks'
export declare function html(strings: TemplateStringsArray, ...values: any[]): VNode<any>
`

/** @param {string} path below node_modules */
const read = (path) => readFile(join(PACKAGES, path), 'utf8')

/**
 * ComfyUI imports every `*.js` below web/ as an extension, so modules are `.mjs`; `process` does not
 * exist in a browser; source maps are not shipped.
 * @param {string} source
 */
const forTheBrowser = (source) =>
  source
    .replace(/^\/\/# sourceMappingURL=.*\n?/gm, '')
    .replace(/process\.env\.NODE_ENV !== "production"/g, 'false')
    .replace(/(from\s+["']\.{1,2}\/[\w/-]+)\.js(["'])/g, '$1.mjs$2')

/** Every vendored file, by name. @returns {Promise<Map<string, string>>} */
export async function vendored() {
  /** @type {Map<string, string>} */
  const files = new Map()
  files.set('htm-preact.mjs', await read('htm/preact/standalone.module.js'))
  files.set('htm-preact.d.mts', HTM_TYPES)
  files.set('htm.LICENSE', await read('htm/LICENSE'))
  files.set('preact.LICENSE', await read('preact/LICENSE'))

  const core = '@tanstack/virtual-core/dist/esm'
  for (const name of (await readdir(join(PACKAGES, core))).sort()) {
    if (name.endsWith('.d.ts')) {
      files.set(`virtual-core/${name.replace('.d.ts', '.d.mts')}`, forTheBrowser(await read(`${core}/${name}`)))
    } else if (name.endsWith('.js')) {
      files.set(`virtual-core/${name.replace('.js', '.mjs')}`, forTheBrowser(await read(`${core}/${name}`)))
    }
  }
  files.set('virtual-core/LICENSE', await read('@tanstack/virtual-core/LICENSE'))

  const tus = 'tus-js-client/lib.esm'
  for (const name of (await readdir(join(PACKAGES, tus), { recursive: true })).sort()) {
    if (!name.endsWith('.js') || name.startsWith('node')) continue
    const text = forTheBrowser(await read(`${tus}/${name}`))
      .replace("from 'js-base64'", "from './js-base64.mjs'")
      // Every browser has URL; url-parse is for those that had not.
      .replace("import URL from 'url-parse';\n", '')
    files.set(`tus/${name.replace('.js', '.mjs')}`, text)
  }
  files.set('tus/browser/index.d.mts', await read('tus-js-client/lib/index.d.ts'))
  files.set('tus/js-base64.mjs', forTheBrowser(await read('js-base64/base64.mjs')))
  files.set('tus/LICENSE', await read('tus-js-client/LICENSE'))
  files.set('tus/js-base64.LICENSE', await read('js-base64/LICENSE.md'))

  const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'))
  const version = (/** @type {string} */ name) => lock.packages[`node_modules/${name}`].version
  files.set(
    'README.md',
    `# Vendored\n\nWritten by \`npm run vendor\` from the npm registry; do not edit.\n\n` +
      `| file | package | licence |\n|---|---|---|\n` +
      `| \`htm-preact.mjs\` | htm ${version('htm')} (\`htm/preact/standalone\`, carries Preact) | Apache-2.0, Preact MIT |\n` +
      `| \`virtual-core/\` | @tanstack/virtual-core ${version('@tanstack/virtual-core')} | MIT |\n` +
      `| \`tus/\` | tus-js-client ${version('tus-js-client')}, with js-base64 ${version('js-base64')} | MIT, BSD-3-Clause |\n`
  )
  return files
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await rm(TARGET, { recursive: true, force: true })
  for (const [name, text] of await vendored()) {
    const path = join(TARGET, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  }
}
