import { createComfyGraph } from './graph.mjs'

/** @import { ComfyApi, ComfyApp } from '@comfyorg/comfyui-frontend-types' */
/** @import { Host } from '../types.mjs' */

/** How long a toast stays, in milliseconds. */
const TOAST = 5000

/**
 * Inside ComfyUI. What differs between frontends (1.27 to 1.58) is asked for before it is used.
 * @param {ComfyApp} app
 * @param {ComfyApi} api
 * @param {{badge: (count: number) => void, open: () => void}} tab
 * @returns {Host}
 */
export function createComfyHost(app, api, { badge, open }) {
  // The frontend's own types cover less than what runs, and differ between its versions.
  const manager = /** @type {any} */ (app.extensionManager)
  const graphApp = /** @type {any} */ (app)

  return {
    kind: 'comfyui',
    badge,
    open,
    url: (path) => api.apiURL(`/${path.replace(/^\//, '')}`),
    fetch: (path, init) => api.fetchApi(path, init),

    on(name, listener) {
      const handler = (/** @type {any} */ event) => listener(event.detail)
      const target = /** @type {any} */ (api)
      target.addEventListener(name, handler)
      return () => target.removeEventListener(name, handler)
    },

    toast(severity, summary, detail = '') {
      const toasts = manager?.toast
      if (typeof toasts?.add === 'function') {
        toasts.add({ severity, summary, detail, ...(severity === 'error' ? {} : { life: TOAST }) })
        return true
      }
      const named = severity === 'warn' ? 'warning' : severity
      if (typeof toasts?.[named] === 'function') {
        toasts[named](summary, { description: detail })
        return true
      }
      return false
    },

    async refreshNodes() {
      if (typeof manager?.command?.execute === 'function') {
        await manager.command.execute('Comfy.RefreshNodeDefinitions')
      } else if (typeof graphApp.refreshComboInNodes === 'function') {
        await graphApp.refreshComboInNodes()
      }
    },

    graph: createComfyGraph(app),

    language: () => manager?.setting?.get?.('Comfy.Locale') || navigator.language || 'en'
  }
}
