import { query } from '../api.mjs'
import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { BrowseEntry, Folder } from '../types.mjs' */

/**
 * @typedef {object} FoldersState
 * @property {boolean} open whether the browser is shown
 * @property {string} path the folder asked for; empty for the list of allowed folders
 * @property {Folder | null} folder what was answered last
 * @property {BrowseEntry[]} roots the allowed folders
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {string[]} picked paths that were ticked, in any folder
 */

/** @param {string} path @param {string} folder */
const isBelow = (path, folder) => path.startsWith(/[\\/]$/.test(folder) ? folder : `${folder}${path.includes('\\') ? '\\' : '/'}`)

/**
 * The way from an allowed folder down to a path, for the line above the list.
 * @param {string} path @param {BrowseEntry[]} roots
 * @returns {{name: string, path: string}[]} the first is the allowed folder itself
 */
export function crumbsOf(path, roots) {
  const separator = path.includes('\\') ? '\\' : '/'
  const root = roots
    .map((entry) => entry.path)
    .filter((root) => path === root || isBelow(path, root))
    .sort((one, other) => other.length - one.length)[0]
  if (root === undefined) return path ? [{ name: path, path }] : []
  const crumbs = [{ name: root, path: root }]
  let at = root.replace(/[\\/]$/, '')
  for (const name of path.slice(root.length).split(/[\\/]/).filter(Boolean)) {
    at += `${separator}${name}`
    crumbs.push({ name, path: at })
  }
  return crumbs
}

/** The folders that lie in none of the others: apps tell each of their folders, and the one around them.
 * @param {BrowseEntry[]} roots */
export const outermost = (roots) => roots.filter(({ path }) => !roots.some((other) => other.path !== path && isBelow(path, other.path)))

/** The server's folders, as far as they may be read. @param {Api} api */
export function createFolders(api) {
  const store = createStore(
    /** @type {FoldersState} */ ({ open: false, path: '', folder: null, roots: [], loading: false, error: null, picked: [] })
  )
  let sequence = 0

  /** @param {string} path empty for the list of allowed folders */
  async function go(path) {
    const mine = ++sequence
    store.set({ open: true, path, loading: true, error: null })
    try {
      const folder = await api.get(`/browse${query({ path })}`)
      if (mine === sequence) store.set({ folder, loading: false, ...(path ? {} : { roots: outermost(folder.entries) }) })
    } catch (error) {
      if (mine === sequence) store.set({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  return {
    ...store,
    go,

    /** Open it where it was left. */
    async open() {
      const { path, roots } = store.get()
      if (path && roots.length === 0) await go('')
      await go(path)
    },

    close() {
      sequence += 1
      store.set({ open: false, loading: false, error: null, picked: [] })
    },

    /** @param {string} path */
    toggle(path) {
      const { picked } = store.get()
      store.set({ picked: picked.includes(path) ? picked.filter((other) => other !== path) : [...picked, path] })
    }
  }
}

/** @typedef {ReturnType<typeof createFolders>} Folders */
