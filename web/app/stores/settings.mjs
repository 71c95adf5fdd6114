import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */

/**
 * @typedef {object} SettingsState
 * @property {Record<string, any> | null} settings
 * @property {ApiError | null} error
 * @property {string | null} saving
 * @property {ApiError | null} saveError
 */

/**
 * @param {Api} api
 * @param {(key: string) => void} [saved] told of each setting that changed
 */
export function createSettings(api, saved = () => {}) {
  const store = createStore(
    /** @type {SettingsState} */ ({ settings: null, error: null, saving: null, saveError: null })
  )
  return {
    ...store,

    async load() {
      store.set({ error: null })
      try {
        store.set({ settings: await api.get('/settings') })
      } catch (error) {
        store.set({ error: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {string} key @param {unknown} value @returns {Promise<boolean>} */
    async save(key, value) {
      store.set({ saving: key, saveError: null })
      try {
        const settings = await api.patch('/settings', { [key]: value })
        store.set({ settings, saving: null })
        saved(key)
        return true
      } catch (error) {
        store.set({ saving: null, saveError: /** @type {ApiError} */ (error) })
        return false
      }
    }
  }
}

/** @typedef {ReturnType<typeof createSettings>} SettingsStore */
