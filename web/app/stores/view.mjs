import { createStore } from '../store.mjs'

/** @typedef {'models' | 'import' | 'links'} Place */
/** @typedef {{id: number, severity: 'success' | 'info' | 'warn' | 'error', summary: string, detail: string}} Toast */

/**
 * @typedef {object} ViewState
 * @property {Place} place
 * @property {'jobs' | 'settings' | 'workflow' | null} sheet
 * @property {Toast[]} toasts
 */

/** Milliseconds that a toast stays; an error stays until it is dismissed. */
const TOAST = 5000

/** Where in the panel the person is. */
export function createView() {
  const store = createStore(/** @type {ViewState} */ ({ place: 'models', sheet: null, toasts: [] }))
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

    /** @param {Toast['severity']} severity @param {string} summary @param {string} [detail] */
    toast(severity, summary, detail = '') {
      ids += 1
      const id = ids
      store.set({ toasts: [...store.get().toasts.slice(-2), { id, severity, summary, detail }] })
      if (severity !== 'error') setTimeout(() => dismiss(id), TOAST)
    },
    dismiss
  }
}

/** @typedef {ReturnType<typeof createView>} View */
