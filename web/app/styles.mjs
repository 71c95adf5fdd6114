/** @import { Host } from './types.mjs' */

const STYLES = 'librarian-styles'

/** Once a page; waits, so that nothing is ever drawn without its looks. @param {Host} host @returns {Promise<void>} */
export function loadStyles(host) {
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
