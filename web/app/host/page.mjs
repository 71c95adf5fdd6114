/** @import { Host } from '../types.mjs' */

/**
 * The standalone page. Addresses are relative to it, so it also works below a reverse proxy's prefix.
 * @param {string} base address of the page's folder, with its slash
 * @returns {Host}
 */
export function createPageHost(base) {
  const url = (/** @type {string} */ path) => new URL(path.replace(/^\//, ''), base).href
  /** @type {Map<string, Set<(data: any) => void>>} */
  const listeners = new Map()
  /** @type {EventSource | null} */
  let source = null

  /** @param {string} name */
  function hear(name) {
    source ??= new EventSource(url('librarian/events'))
    source.addEventListener(name, (event) => {
      const data = JSON.parse(/** @type {MessageEvent} */ (event).data)
      for (const listener of listeners.get(name) ?? []) listener(data)
    })
  }

  return {
    kind: 'page',
    url,
    fetch: (path, init) => fetch(url(path), init),
    on(name, listener) {
      let those = listeners.get(name)
      if (!those) {
        those = new Set()
        listeners.set(name, those)
        hear(name)
      }
      those.add(listener)
      return () => those.delete(listener)
    },
    toast: () => false,
    refreshNodes: async () => {},
    badge: () => {},
    open: () => {},
    graph: null,
    language: () => navigator.language || 'en'
  }
}
