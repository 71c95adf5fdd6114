import { html, render } from '../vendor/htm-preact.mjs'
import { createLibrarianApp } from './librarian-app.mjs'
import { loadStyles } from './styles.mjs'
import { Panel, focusSearch } from './ui/panel.mjs'

/** @import { Host } from './types.mjs' */

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
      focusSearch(element)
    },

    panel
  }
}
