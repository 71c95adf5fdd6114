/** @import { ComfyApi, ComfyApp } from '@comfyorg/comfyui-frontend-types' */
/** @import { Host } from '../types.mjs' */

/** How long a toast stays, in milliseconds. */
const TOAST = 5000

/**
 * Inside ComfyUI. What differs between frontends (1.27 to 1.58) is asked for before it is used.
 * @param {ComfyApp} app
 * @param {ComfyApi} api
 * @param {(count: number) => void} badge
 * @returns {Host}
 */
export function createComfyHost(app, api, badge) {
  // The frontend's own types cover less than what runs, and differ between its versions.
  const manager = /** @type {any} */ (app.extensionManager)
  const graphApp = /** @type {any} */ (app)

  return {
    kind: 'comfyui',
    badge,
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

    addNode(nodeId, widgets) {
      const litegraph = /** @type {any} */ (globalThis).LiteGraph
      const node = litegraph?.createNode?.(nodeId)
      if (!node) return false
      // Inside a subgraph the canvas shows another graph than the workflow's root.
      const graph = graphApp.canvas?.graph ?? graphApp.graph
      const area = graphApp.canvas?.ds?.visible_area ?? graphApp.canvas?.visible_area
      if (area) {
        const [x, y, width, height] = area
        // A little aside for each, so that two new nodes do not cover each other.
        const aside = ((graph._nodes?.length ?? 0) % 6) * 24
        node.pos = [x + width / 2 - node.size[0] / 2 + aside, y + height / 2 - node.size[1] / 2 + aside]
      }
      graph.add(node)
      for (const [name, value] of Object.entries(widgets)) {
        const widget = node.widgets?.find((/** @type {any} */ other) => other.name === name)
        if (!widget) continue
        widget.value = value
        widget.callback?.(value, graphApp.canvas, node, node.pos)
      }
      graphApp.canvas?.selectNode?.(node)
      graph.setDirtyCanvas?.(true, true)
      return true
    },

    language: () => manager?.setting?.get?.('Comfy.Locale') || navigator.language || 'en'
  }
}
