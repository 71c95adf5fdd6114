/** The standalone page: the panel fills it. */
import { createPageHost } from './host/page.mjs'
import { createPanel } from './main.mjs'

const base = new URL('.', document.baseURI).href
const panel = createPanel(createPageHost(base))
await panel.mount(/** @type {HTMLElement} */ (document.getElementById('librarian')))
