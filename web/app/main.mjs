import { html, render } from '../vendor/htm-preact.mjs'
import { createLibrarianApp } from './librarian-app.mjs'
import { Panel, focusSearch } from './ui/panel.mjs'

/** @import { Host } from './types.mjs' */

const STYLES = 'librarian-styles'

/**
 * The panel of one page: it may be mounted and unmounted as often as the tab opens and closes, and
 * stands as it was left.
 * @param {Host} host
 */
export function createPanel(host) {
  const panel = createLibrarianApp(host)
  return {
    /** @param {HTMLElement} element */
    async mount(element) {
      await loadStyles(host)
      panel.start()
      render(html`<${Panel} panel=${panel} />`, element)
    },

    /** @param {HTMLElement} element */
    unmount(element) {
      render(/** @type {any} */ (null), element)
    },

    /** @param {HTMLElement} element */
    focusSearch(element) {
      panel.view.go('models')
      panel.details.close()
      requestAnimationFrame(() => focusSearch(element))
    },

    panel
  }
}

/** Once a page; waits, so that nothing is ever drawn without its looks. @param {Host} host @returns {Promise<void>} */
function loadStyles(host) {
  if (document.getElementById(STYLES)) return Promise.resolve()
  return new Promise((resolve) => {
    const link = document.createElement('link')
    link.id = STYLES
    link.rel = 'stylesheet'
    link.href = host.url('librarian/web/app/panel.css')
    link.addEventListener('load', () => resolve())
    link.addEventListener('error', () => {
      // Unstyled is better than nothing, and the next opening tries again.
      link.id = ''
      resolve()
    })
    document.head.append(link)
  })
}
