import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Status } from '../types.mjs' */

/** Milliseconds between two questions: when something is going on, and when nothing is. */
const BUSY = 3000
const CALM = 20000
/** Milliseconds in which a server that is well tells how it is. */
const PATIENCE = 8000

/**
 * @typedef {object} StatusState
 * @property {Status | null} status
 * @property {number} receivedAt when it was told, in ms; seconds left count down from here
 * @property {ApiError | null} error
 * @property {boolean} asking
 */

/**
 * @param {Api} api
 * @param {() => void} onReturn called when the server answers again after it did not
 */
export function createStatus(api, onReturn) {
  const store = createStore(/** @type {StatusState} */ ({ status: null, receivedAt: 0, error: null, asking: false }))
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  let watching = false

  /** @param {Status} status */
  function take(status) {
    const wasGone = Boolean(store.get().error)
    store.set({ status, receivedAt: Date.now(), error: null, asking: false })
    if (wasGone) onReturn()
  }

  function schedule() {
    clearTimeout(timer)
    if (!watching) return
    const { status, error } = store.get()
    const busy = error || status?.index.state === 'indexing' || status?.network.offline
    timer = setTimeout(load, busy ? BUSY : CALM)
  }

  async function load() {
    store.set({ asking: true })
    try {
      take(await api.get('/status', { patience: PATIENCE }))
    } catch (error) {
      store.set({ error: /** @type {ApiError} */ (error), asking: false })
    }
    schedule()
  }

  return {
    ...store,
    load,

    /** A `librarian.status` event: the status itself, or a hint that it changed. @param {any} data */
    event(data) {
      if (data?.library && data?.index && data?.network) {
        take(data)
        schedule()
      } else void load()
    },

    /** Keep asking while the panel is open. */
    watch() {
      watching = true
      void load()
    },

    unwatch() {
      watching = false
      clearTimeout(timer)
    }
  }
}

/** @typedef {ReturnType<typeof createStatus>} StatusStore */
