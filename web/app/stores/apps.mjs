import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { LibrarianApp } from '../types.mjs' */

/** Kinds of apps that Librarian knows; `custom` is any other. */
export const APP_KINDS = /** @type {const} */ (['comfyui', 'a1111', 'forge', 'invokeai', 'swarmui', 'custom'])
/** @typedef {typeof APP_KINDS[number]} AppKind */

/** @typedef {{links_removed?: number, unreachable?: string[], errors?: string[]}} Uninstalled */

/**
 * @typedef {object} AppsState
 * @property {LibrarianApp[] | null} apps
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {boolean} adding
 * @property {{root: string, error: ApiError} | null} addError
 * @property {LibrarianApp[]} added those that were added just now
 * @property {boolean} removing
 * @property {ApiError | null} removeError
 */

/**
 * The apps that models are linked into.
 * @param {Api} api
 * @param {() => void} linksChanged called when links went with an app
 */
export function createApps(api, linksChanged) {
  const store = createStore(
    /** @type {AppsState} */ ({
      apps: null, loading: false, error: null, adding: false, addError: null, added: [], removing: false, removeError: null
    })
  )

  async function load() {
    store.set({ loading: true, error: null })
    try {
      const { apps } = await api.get('/apps')
      store.set({ apps, loading: false })
    } catch (error) {
      store.set({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  return {
    ...store,
    load,

    /** @param {string | null | undefined} id */
    find: (id) => store.get().apps?.find(({ app }) => app === id) ?? null,

    /** Before another one is added. */
    begin: () => store.set({ added: [], addError: null }),

    /**
     * Add apps by their folders, one after the other; stops at the first that is refused.
     * @param {string[]} roots @param {AppKind} [kind] what lies there tells it, unless given
     */
    async add(roots, kind) {
      store.set({ adding: true, addError: null })
      for (const root of roots) {
        try {
          const app = await api.post('/apps', { root, ...(kind && { kind }) })
          store.set({ added: [...store.get().added.filter((other) => other.app !== app.app), app] })
        } catch (error) {
          store.set({ addError: { root, error: /** @type {ApiError} */ (error) } })
          break
        }
      }
      store.set({ adding: false })
      await load()
    },

    /**
     * Remove all links of an app and nothing else; one that was added is forgotten as well.
     * @param {string} id @returns {Promise<Uninstalled | null>} nothing when it was refused
     */
    async remove(id) {
      store.set({ removing: true, removeError: null })
      try {
        const result = await api.delete(`/apps/${encodeURIComponent(id)}`)
        store.set({ removing: false })
        if (result.links_removed) linksChanged()
        await load()
        return result
      } catch (error) {
        store.set({ removing: false, removeError: /** @type {ApiError} */ (error) })
        return null
      }
    }
  }
}

/** @typedef {ReturnType<typeof createApps>} Apps */
