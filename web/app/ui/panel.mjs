import { html, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { Banners } from './banners.mjs'
import { PanelContext, useI18n, usePanel, useStore } from './context.mjs'
import { DropZone } from './drop-zone.mjs'
import { Icon } from './icons.mjs'
import { ImportPlace } from './import-place.mjs'
import { JobsSheet, beginScan } from './jobs-sheet.mjs'
import { LinksPlace } from './links-place.mjs'
import { ModelsPlace } from './models-place.mjs'
import { Button, ErrorBox, IconButton, Popover, SkeletonRows } from './parts.mjs'
import { SettingsSheet } from './settings-sheet.mjs'
import { StoragePlace } from './storage-place.mjs'
import { WorkflowNotice, WorkflowSheet } from './workflow-sheet.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { Place } from '../stores/view.mjs' */

/** From this width on (pixels), list and details stand side by side. */
const WIDE = 820
/** Below this, the header leaves out what the list says as well. */
const NARROW = 300
/** Below this, whatever is not needed goes. */
const TINY = 240

function Header() {
  const panel = usePanel()
  const { status, jobs, view } = panel
  const { t, bytes } = useI18n()
  const { status: told } = useStore(status)
  const running = useStore(jobs).jobs.filter((job) => !hasEnded(job)).length
  const { sheet } = useStore(view)

  return html`<header class="lib-header">
    <h1>${t('app.title')}</h1>
    <span class="lib-header-count">${told && [t('header.models', { count: told.library.models }), told.library.size_bytes && bytes(told.library.size_bytes)].filter(Boolean).join(' · ')}</span>
    <button
      type="button"
      class=${`lib-jobs-button ${running ? 'is-running' : ''}`}
      aria-label=${running ? t('jobs.running', { count: running }) : t('jobs.title')}
      title=${running ? t('jobs.running', { count: running }) : t('jobs.title')}
      aria-pressed=${sheet === 'jobs' ? 'true' : 'false'}
      onClick=${() => (sheet === 'jobs' ? view.closeSheet() : view.openSheet('jobs'))}
    >
      ${running ? html`<span class="lib-spinner" aria-hidden="true"></span><span>${running}</span>` : html`<${Icon} name="activity" />`}
    </button>
    <${Popover}
      label=${t('menu.label')}
      role="menu"
      button=${(/** @type {any} */ props) => html`<${IconButton} icon="more" label=${t('menu.label')} ...${props} />`}
    >
      ${(/** @type {() => void} */ close) => html`
        ${/** @type {const} */ (['quick', 'deep']).map(
          (kind) =>
            html`<button type="button" class="lib-menu-item is-two-line" role="menuitem" key=${kind}
              onClick=${() => {
                close()
                void beginScan(panel, kind)
              }}>
              <${Icon} name=${kind === 'quick' ? 'refresh' : 'layers'} />
              <span class="lib-menu-text">${t(`scan.${kind}`)}<small>${t(`scan.${kind}Text`)}</small></span>
            </button>`
        )}
        ${panel.host.graph &&
        html`<button type="button" class="lib-menu-item" role="menuitem"
          onClick=${() => {
            close()
            view.openSheet('workflow')
            void panel.workflow.look()
          }}>
          <${Icon} name="layers" /><span class="lib-menu-text">${t('workflow.title')}</span>
        </button>`}
        <button type="button" class="lib-menu-item" role="menuitem"
          onClick=${() => {
            close()
            view.openSheet('settings')
          }}>
          <${Icon} name="settings" /><span class="lib-menu-text">${t('settings.title')}</span>
        </button>
        ${told && html`<p class="lib-menu-note">${t('app.title')} ${told.version}</p>`}
      `}
    <//>
  </header>`
}

/** What wants attention, by place. */
function useAttention() {
  const { search, imports, uploads, links, health, jobs, status, storage } = usePanel()
  const { updateOffered, error } = useStore(search, 'updateOffered', 'error')
  const { runs } = useStore(imports)
  const sent = useStore(uploads).uploads
  const { plan, jobId: syncId } = useStore(links)
  const { report } = useStore(health)
  const { status: told } = useStore(status)
  const { outcome, jobIds: replacing } = useStore(storage)
  const importing = useStore(jobs).jobs.some((job) => job.kind === 'import' && !hasEnded(job))
  return {
    models: updateOffered || Boolean(error) || told?.index.state === 'error',
    import: importing || runs.some(({ seen }) => !seen) || sent.length > 0,
    links: Boolean(plan && !syncId && plan.conflicts.length > 0) || Boolean(report?.total_issues) || Boolean(told?.warnings?.some(({ code }) => code.includes('link'))),
    storage: replacing.length > 0 || outcome !== null
  }
}

const PLACES = /** @type {const} */ ([
  ['models', 'library'],
  ['import', 'tray'],
  ['links', 'link'],
  ['storage', 'drive']
])

function Places() {
  const { view } = usePanel()
  const { t } = useI18n()
  const { place } = useStore(view)
  const attention = useAttention()
  return html`<nav class="lib-places" aria-label=${t('places.label')}>
    ${PLACES.map(
      ([id, icon]) =>
        html`<button type="button" key=${id} aria-current=${place === id ? 'page' : undefined} onClick=${() => view.go(/** @type {Place} */ (id))}>
          <span class="lib-places-icon">
            <${Icon} name=${icon} />
            ${attention[id] && place !== id && html`<span class="lib-dot" role="img" aria-label=${t('places.attention')}></span>`}
          </span>
          ${t(`places.${id}`)}
        </button>`
    )}
  </nav>`
}

function Toasts() {
  const { view } = usePanel()
  const { t } = useI18n()
  const { toasts } = useStore(view)
  return html`<div class="lib-toasts" role="status" aria-live="polite">
    ${toasts.map(
      (toast) =>
        html`<div class="lib-toast" key=${toast.id} data-severity=${toast.severity}>
          <${Icon} name=${{ success: 'check', info: 'info', warn: 'warn', error: 'error' }[toast.severity]} />
          <div><strong>${toast.summary}</strong>${toast.detail && html`<p>${toast.detail}</p>`}
            ${toast.action && html`<${Button} icon="undo" onClick=${() => {
              view.dismiss(toast.id)
              toast.action?.run()
            }}>${toast.action.label}<//>`}</div>
          <${IconButton} icon="close" class="is-small" label=${t('action.dismiss')} onClick=${() => view.dismiss(toast.id)} />
        </div>`
    )}
  </div>`
}

/** @param {{wide: boolean}} props */
function PlaceContent({ wide }) {
  const { view } = usePanel()
  const { place } = useStore(view)
  if (place === 'import') return html`<${ImportPlace} />`
  if (place === 'links') return html`<${LinksPlace} />`
  if (place === 'storage') return html`<${StoragePlace} />`
  return html`<${ModelsPlace} wide=${wide} />`
}

/** A fault of the panel itself is said as well, and begins anew on request. @param {{children: any}} props */
function Guard({ children }) {
  const { t } = useI18n()
  const [error, again] = useErrorBoundary((/** @type {unknown} */ fault) => console.error('Model Librarian:', fault))
  if (error) return html`<${ErrorBox} what=${t('error.panel')} error=${error} onRetry=${again} />`
  return children
}

function Body() {
  const panel = usePanel()
  const { view, words, status } = panel
  const { sheet } = useStore(view)
  const { ready, failed, i18n } = useStore(words)
  const root = useRef(/** @type {HTMLElement | null} */ (null))
  const main = useRef(/** @type {any} */ (null))
  const [width, setWidth] = useState(350)
  const wide = width >= WIDE

  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (root.current)
    const measure = () => setWidth(element.clientWidth)
    measure()
    const sizes = new ResizeObserver(measure)
    sizes.observe(element)
    return () => sizes.disconnect()
  }, [])

  useEffect(() => {
    status.watch()
    return status.unwatch
  }, [])

  useLayoutEffect(() => {
    if (main.current) main.current.inert = sheet !== null
  }, [sheet])

  useEffect(() => {
    // Standalone the whole page is the panel; in ComfyUI keys outside it are not ours.
    const target = panel.host.kind === 'page' ? document : /** @type {HTMLElement} */ (root.current)
    /** @param {Event} event */
    const onKeyDown = (event) => {
      const { key, ctrlKey, metaKey, altKey } = /** @type {KeyboardEvent} */ (event)
      const typing = /** @type {HTMLElement} */ (event.target).closest?.('input, textarea, select, [contenteditable], dialog')
      if (key !== '/' || ctrlKey || metaKey || altKey || typing) return
      event.preventDefault()
      event.stopPropagation()
      view.go('models')
      panel.details.close()
      panel.remote.close()
      focusSearch(/** @type {HTMLElement} */ (root.current))
    }
    target.addEventListener('keydown', onKeyDown)
    return () => target.removeEventListener('keydown', onKeyDown)
  }, [])

  return html`<div class="lib" ref=${root} lang=${i18n.language} data-host=${panel.host.kind} data-wide=${wide ? '' : undefined} data-narrow=${width < NARROW ? '' : undefined} data-tiny=${width < TINY ? '' : undefined}>
    ${ready
      ? html`<${Guard}>
          <${Header} />
          <${Banners} />
          <${WorkflowNotice} />
          <${panel.host.kind === 'page' ? 'main' : 'div'} class="lib-main">
            <div class="lib-place" ref=${main}><${PlaceContent} wide=${wide} /></div>
            ${sheet === 'jobs' && html`<${JobsSheet} />`} ${sheet === 'settings' && html`<${SettingsSheet} />`}
            ${sheet === 'workflow' && html`<${WorkflowSheet} />`}
          <//>
          <${Places} />
          <${Toasts} />
          <${DropZone} root=${root} />
        <//>`
      : failed
        ? html`<${ErrorBox} error=${{ code: 'unreachable' }} onRetry=${panel.loadWords} />`
        : html`<${SkeletonRows} count=${10} />`}
  </div>`
}

/** At once, so that no key that follows is lost; and again if the field is not drawn yet, or what closes takes the focus along.
 * @param {ParentNode} root */
export function focusSearch(root) {
  const field = () => /** @type {HTMLInputElement | null} */ (root.querySelector('[data-lib-search]'))
  const focus = () => {
    field()?.focus()
    field()?.select()
  }
  focus()
  requestAnimationFrame(() => {
    if (document.activeElement !== field()) focus()
  })
}

/** @param {{panel: LibrarianPanel}} props */
export function Panel({ panel }) {
  return html`<${PanelContext.Provider} value=${panel}><${Body} /><//>`
}
