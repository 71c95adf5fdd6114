/**
 * The one file that ComfyUI loads by itself. It registers the tab and loads the rest when the tab is
 * opened for the first time, through our own route: ComfyUI serves `*.mjs` without `Cache-Control`,
 * so that after an update a browser would mix old and new modules.
 */
// @ts-expect-error These two exist where ComfyUI serves this file, not in the repository.
import { api as comfyApi } from '../../scripts/api.js'
// @ts-expect-error as above
import { app as comfyApp } from '../../scripts/app.js'

/** @import { ComfyApi, ComfyApp } from '@comfyorg/comfyui-frontend-types' */

const api = /** @type {ComfyApi} */ (comfyApi)
const app = /** @type {ComfyApp} */ (comfyApp)

const TAB = 'librarian'
const EVENTS = ['librarian.job', 'librarian.library', 'librarian.status', 'librarian.remote']
const REPOSITORY = 'https://github.com/model-librarian/model-librarian'

/** @import { LibrarianPanel } from './app/librarian-app.mjs' */

/** @typedef {{panel: LibrarianPanel, mount: (element: HTMLElement) => Promise<void>, unmount: (element: HTMLElement) => void,
 *   focusSearch: (element: HTMLElement) => void}} MountedPanel */

/** @type {Promise<MountedPanel> | null} */
let loading = null
/** @type {HTMLElement | null} */
let mountedIn = null
/** What draws models in nodes; without it they are texts, and work as well. @type {any} */
let widgets = null

/** @returns {Promise<MountedPanel>} */
function load() {
  loading ??= (async () => {
    const [{ createPanel }, { createComfyHost }] = await Promise.all([
      import(api.apiURL('/librarian/web/app/main.mjs')),
      import(api.apiURL('/librarian/web/app/host/comfyui.mjs'))
    ])
    return createPanel(createComfyHost(app, api, { badge, open: () => void openTab() }))
  })()
  // A failure is not kept: the next try may find the server again.
  loading.catch(() => (loading = null))
  return loading
}

/** @param {HTMLElement} element */
async function show(element) {
  mountedIn = element
  element.style.height = '100%'
  try {
    const panel = await load()
    if (mountedIn === element) await panel.mount(element)
  } catch (error) {
    console.error('Model Librarian:', error)
    if (mountedIn === element) sayUnreachable(element)
  }
}

/** The locales come from the server as well, so these words are the only ones written here.
 * @param {HTMLElement} element */
function sayUnreachable(element) {
  const box = document.createElement('div')
  box.setAttribute('role', 'alert')
  box.style.cssText = 'padding:16px;display:grid;gap:12px;color:var(--fg-color)'
  const text = document.createElement('p')
  text.textContent = 'Librarian does not answer'
  const retry = document.createElement('button')
  retry.textContent = 'Retry'
  retry.style.cssText =
    'justify-self:start;padding:6px 12px;border-radius:6px;border:1px solid var(--border-color);background:var(--comfy-input-bg);color:var(--input-text)'
  retry.addEventListener('click', () => {
    box.remove()
    void show(element)
  })
  box.append(text, retry)
  element.replaceChildren(box)
}

/** How many things want attention, at the tab's button; nothing for none. @param {number} count */
function badge(count) {
  const manager = /** @type {any} */ (app.extensionManager)
  // The frontend's own record of the tab is watched, the one that was handed over is not.
  const tabs = manager.sidebarTab?.sidebarTabs ?? manager.getSidebarTabs?.() ?? []
  const tab = tabs.find((/** @type {any} */ one) => one.id === TAB)
  if (tab) tab.iconBadge = count > 0 ? String(count) : ''
}

/** Look what the open workflow misses; quietly, and not while ComfyUI is busy with it. */
function workflowOpened() {
  const idle = globalThis.requestIdleCallback ?? setTimeout
  idle(async () => {
    try {
      const { panel } = await load()
      await panel.begin()
      await panel.workflow.look()
    } catch {
      // Without an answer there is nothing to point to; the panel says that nobody answers.
    }
  })
}

/** @param {() => void} [then] */
async function openTab(then) {
  const manager = /** @type {any} */ (app.extensionManager)
  const active = manager.sidebarTab?.activeSidebarTabId ?? manager.activeSidebarTab?.value?.id
  if (active !== TAB) await manager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`)
  then?.()
}

app.registerExtension({
  name: 'ModelLibrarian',

  aboutPageBadges: [{ label: 'Model Librarian', url: REPOSITORY, icon: 'pi pi-book' }],

  commands: [
    {
      id: 'ModelLibrarian.Search',
      label: 'Search models in Model Librarian',
      icon: 'pi pi-book',
      function: () =>
        openTab(async () => {
          const panel = await load()
          // The tab is drawn after the toggle.
          setTimeout(() => mountedIn && panel.focusSearch(mountedIn), 50)
        })
    },
    {
      id: 'ModelLibrarian.MissingModels',
      label: 'Missing models in this workflow (Model Librarian)',
      icon: 'pi pi-book',
      function: () =>
        openTab(async () => {
          const { panel } = await load()
          panel.view.openSheet('workflow')
          void panel.workflow.look()
        })
    }
  ],
  keybindings: [{ combo: { key: 'l', ctrl: true, shift: true }, commandId: 'ModelLibrarian.Search' }],
  menuCommands: [{ path: ['Extensions'], commands: ['ModelLibrarian.Search', 'ModelLibrarian.MissingModels'] }],

  async init() {
    try {
      widgets = await import(api.apiURL('/librarian/web/app/nodes/model-widget.mjs'))
    } catch (error) {
      console.error('Model Librarian:', error)
    }
  },

  getCustomWidgets: () => ({
    /** @param {any} node @param {string} name @param {any} spec */
    LIBRARIAN_MODEL: (node, name, spec) => widgets.modelWidget(node, name, spec, load)
  }),

  /** @param {any} type @param {any} definition */
  beforeRegisterNodeDef: (type, definition) => {
    widgets?.learnNode(definition)
    widgets?.saveFileNames(type, definition.name)
  },

  /** @param {any} workflow */
  beforeConfigureGraph: (workflow) => widgets?.dropFileNames(workflow),

  afterConfigureGraph: workflowOpened,

  setup() {
    // Known before the first one arrives, or the frontend reports them as unknown messages.
    for (const name of EVENTS) /** @type {any} */ (api).addEventListener(name, () => {})

    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: 'pi pi-book',
      title: 'Librarian',
      tooltip: 'Model Librarian',
      type: 'custom',
      render: (/** @type {HTMLElement} */ element) => void show(element),
      destroy: () => {
        const element = mountedIn
        mountedIn = null
        if (element) void loading?.then((panel) => panel.unmount(element))
      }
    })
    workflowOpened()
  }
})
