import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */

/** @typedef {{link_id: number, app: string, target: string, old_target: string, source: string, old_source: string, problem: string | null}} LinkChange */
/** @typedef {{updated: number, links: LinkChange[], failed: LinkChange[], dry_run: boolean}} Relocated */

/**
 * @typedef {object} RelocationState
 * @property {string} oldPrefix
 * @property {string} newPrefix
 * @property {boolean} busy
 * @property {ApiError | null} error
 * @property {Relocated | null} would what would change, for the folders as they stand in the fields
 * @property {Relocated | null} moved what was changed
 */

/**
 * Links follow a folder that is elsewhere now: looked at first, then done.
 * @param {Api} api
 * @param {() => void} linksChanged
 */
export function createRelocation(api, linksChanged) {
  const store = createStore(
    /** @type {RelocationState} */ ({ oldPrefix: '', newPrefix: '', busy: false, error: null, would: null, moved: null })
  )
  let sequence = 0

  /** @param {boolean} dryRun */
  async function run(dryRun) {
    const mine = ++sequence
    const { oldPrefix, newPrefix } = store.get()
    store.set({ busy: true, error: null, moved: null })
    try {
      const answer = await api.post('/links/relocate', { old_prefix: oldPrefix.trim(), new_prefix: newPrefix.trim(), dry_run: dryRun })
      if (!dryRun && answer.updated) linksChanged()
      if (mine === sequence) store.set({ busy: false, would: dryRun ? answer : null, moved: dryRun ? null : answer })
    } catch (error) {
      if (mine === sequence) store.set({ busy: false, error: /** @type {ApiError} */ (error) })
    }
  }

  return {
    ...store,

    /** Another folder is another question. @param {Partial<Pick<RelocationState, 'oldPrefix' | 'newPrefix'>>} prefixes */
    edit(prefixes) {
      sequence += 1
      store.set({ ...prefixes, busy: false, would: null, moved: null, error: null })
    },

    look: () => run(true),
    move: () => run(false)
  }
}

/** @typedef {ReturnType<typeof createRelocation>} Relocation */
