import { createStore } from '../store.mjs'

/** @typedef {'models' | 'import' | 'links' | 'storage'} Place */
/** @typedef {{id: number, severity: 'success' | 'info' | 'warn' | 'error', summary: string, detail: string, action?: {label: string, run: () => void}}} Toast */

/**
 * @typedef {object} ViewState
 * @property {Place} place
 * @property {'jobs' | 'settings' | 'workflow' | null} sheet
 * @property {Toast[]} toasts
 * @property {boolean} grid whether models are shown as a grid of previews
 * @property {boolean} introduced whether the person has seen what the first start found
 */

/** Milliseconds that a toast stays; an error stays until it is dismissed. */
const TOAST = 5000

/** What stays from one visit to the next; without a storage of the browser's it stays for this one. */
const kept = {
  /** @param {string} name */
  has(name) {
    try {
      return localStorage.getItem(`librarian.${name}`) === 'yes'
    } catch {
      return false
    }
  },
  /** @param {string} name @param {boolean} value */
  set(name, value) {
    try {
      localStorage.setItem(`librarian.${name}`, value ? 'yes' : 'no')
    } catch {
      // Such as in a private window.
    }
  }
}

/** Where in the panel the person is. */
export function createView() {
  const store = createStore(/** @type {ViewState} */ ({ place: 'models', sheet: null, toasts: [], grid: kept.has('grid'), introduced: kept.has('introduced') }))
  let ids = 0

  /** @param {number} id */
  const dismiss = (id) => store.set({ toasts: store.get().toasts.filter((toast) => toast.id !== id) })

  return {
    ...store,
    /** @param {Place} place */
    go: (place) => store.set({ place, sheet: null }),
    /** @param {ViewState['sheet']} sheet */
    openSheet: (sheet) => store.set({ sheet }),
    closeSheet: () => store.set({ sheet: null }),

    /** @param {boolean} grid */
    setGrid(grid) {
      kept.set('grid', grid)
      store.set({ grid })
    },

    introduce() {
      kept.set('introduced', true)
      store.set({ introduced: true })
    },

    /** One that offers something stays until it is dismissed, as an error does. A reason is given once: a download
     * fails, and with it the import that it is.
     * @param {Toast['severity']} severity @param {string} summary @param {string} [detail] @param {Toast['action']} [action] */
    toast(severity, summary, detail = '', action) {
      ids += 1
      const id = ids
      const others = store.get().toasts.filter((toast) => !detail || toast.severity !== severity || toast.detail !== detail || toast.action)
      store.set({ toasts: [...others.slice(-2), { id, severity, summary, detail, ...(action && { action }) }] })
      if (severity !== 'error' && !action) setTimeout(() => dismiss(id), TOAST)
    },
    dismiss
  }
}

/** @typedef {ReturnType<typeof createView>} View */
