import { modelPath } from '../api.mjs'
import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Candidate, LookupAnswer, ModelRecord, ModelRow } from '../types.mjs' */

/**
 * @typedef {object} DetailsState
 * @property {string | null} modelId whose details are open
 * @property {ModelRow | null} row what the list knows already, shown until the record is here
 * @property {ModelRecord | null} record
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {string | null} saving the field being saved
 * @property {ApiError | null} saveError
 * @property {LookupAnswer | null} lookup
 * @property {boolean} lookingUp
 * @property {ApiError | null} lookupError
 * @property {string | null} applying repo id of the candidate being applied
 */

/** @type {Omit<DetailsState, 'modelId' | 'row'>} */
const NOTHING = {
  record: null,
  loading: false,
  error: null,
  saving: null,
  saveError: null,
  lookup: null,
  lookingUp: false,
  lookupError: null,
  applying: null
}

/**
 * @param {Api} api
 * @param {{recordChanged: (record: ModelRecord) => void, modelRemoved: (modelId: string) => void}} tell
 */
export function createDetails(api, tell) {
  const store = createStore(/** @type {DetailsState} */ ({ modelId: null, row: null, ...NOTHING }))
  let sequence = 0
  /** @type {string | null} what is being deleted here: news of that is no surprise */
  let removing = null

  /** @param {boolean} quiet keep what is shown while asking */
  async function load(quiet) {
    const { modelId } = store.get()
    if (!modelId) return
    const mine = ++sequence
    if (!quiet) store.set({ loading: true, error: null })
    try {
      const record = await api.get(modelPath(modelId))
      if (mine === sequence) store.set({ record, loading: false, error: null })
    } catch (error) {
      if (mine !== sequence) return
      const failed = /** @type {ApiError} */ (error)
      if (!quiet || failed.status === 404) store.set({ loading: false, error: failed })
    }
  }

  /** @param {string} modelId */
  const isOpen = (modelId) => store.get().modelId === modelId

  return {
    ...store,

    /** @param {string} modelId @param {ModelRow | null} [row] */
    open(modelId, row = null) {
      if (isOpen(modelId) && store.get().record) return
      store.set({ ...NOTHING, modelId, row })
      void load(false)
    },

    close() {
      sequence += 1
      store.set({ ...NOTHING, modelId: null, row: null })
    },

    retry: () => load(false),

    /** Save one edited field. @param {string} field @param {unknown} value @returns {Promise<boolean>} */
    async save(field, value) {
      const { modelId } = store.get()
      if (!modelId) return false
      store.set({ saving: field, saveError: null })
      try {
        const record = await api.patch(modelPath(modelId), { [field]: value })
        // A record may come back without what only GET adds (files and links with their state).
        const before = store.get().record
        const whole = { ...before, ...record }
        tell.recordChanged(whole)
        if (isOpen(modelId)) store.set({ record: whole, saving: null })
        return true
      } catch (error) {
        if (isOpen(modelId)) store.set({ saving: null, saveError: /** @type {ApiError} */ (error) })
        return false
      }
    },

    dropSaveError: () => store.set({ saveError: null }),

    async lookUp() {
      const { modelId } = store.get()
      if (!modelId) return
      store.set({ lookingUp: true, lookupError: null })
      try {
        const lookup = await api.post('/lookup', { model_id: modelId })
        if (isOpen(modelId)) store.set({ lookup, lookingUp: false })
      } catch (error) {
        if (isOpen(modelId)) store.set({ lookingUp: false, lookupError: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {Candidate} candidate @returns {Promise<boolean>} */
    async apply(candidate) {
      const { modelId } = store.get()
      if (!modelId) return false
      store.set({ applying: candidate.repo_id, lookupError: null })
      try {
        const record = await api.post('/lookup/apply', { model_id: modelId, candidate })
        const whole = { ...store.get().record, ...record }
        tell.recordChanged(whole)
        if (isOpen(modelId)) store.set({ record: whole, applying: null, lookup: null })
        return true
      } catch (error) {
        if (isOpen(modelId)) store.set({ applying: null, lookupError: /** @type {ApiError} */ (error) })
        return false
      }
    },

    /** Open the model's folder on the desktop of the machine that the server runs on. */
    async showFolder() {
      const { modelId } = store.get()
      if (modelId) await api.post(`${modelPath(modelId)}/show`, {})
    },

    dropLookup: () => store.set({ lookup: null, lookupError: null }),

    /** @param {'trash' | 'permanent' | 'keep'} files
     * @returns {Promise<{unlinked: number, files_removed: number, unreachable: unknown[]}>} */
    async remove(files) {
      const { modelId } = store.get()
      if (!modelId) throw new Error('no model is open')
      removing = modelId
      try {
        const answer = await api.delete(`${modelPath(modelId)}?files=${files}`)
        tell.modelRemoved(modelId)
        return answer
      } finally {
        removing = null
      }
    },

    /** A `librarian.library` event; `everything` stands for more changes than are listed.
     * @param {{changed?: string[], removed?: string[], everything?: boolean}} event */
    libraryChanged({ changed = [], removed = [], everything = false }) {
      const { modelId, saving } = store.get()
      if (!modelId || saving || modelId === removing) return
      if (everything || changed.includes(modelId) || removed.includes(modelId)) void load(true)
    }
  }
}

/** @typedef {ReturnType<typeof createDetails>} Details */
