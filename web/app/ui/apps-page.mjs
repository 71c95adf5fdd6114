import { html, useState } from '../../vendor/htm-preact.mjs'
import { issuesOf } from '../stores/health.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { HealthCard } from './health-card.mjs'
import { Icon } from './icons.mjs'
import { Button, Dialog, Empty, ErrorBox, IconButton, MiddleName, Popover, SkeletonRows } from './parts.mjs'

/** @import { LibrarianApp } from '../types.mjs' */

/** Says in numbers what goes with an app, before it goes. @param {{app: LibrarianApp, onClose: () => void}} props */
function RemoveDialog({ app, onClose }) {
  const { apps, toast } = usePanel()
  const { t } = useI18n()
  const { removing, removeError } = useStore(apps)
  const name = app.name || app.app
  const count = app.links ?? 0
  const confirm = async () => {
    const result = await apps.remove(app.app)
    if (!result) return
    const left = [...(result.unreachable ?? []), ...(result.errors ?? [])]
    toast(left.length > 0 ? 'warn' : 'success', t(app.added ? 'apps.removed' : 'apps.unlinked', { name }),
      [t('result.links_removed', { count: result.links_removed ?? 0 }), left.length > 0 ? t('apps.left', { count: left.length, first: /** @type {string} */ (left[0]) }) : ''].filter(Boolean).join('. '))
    onClose()
  }
  return html`<${Dialog}
    title=${t(app.added ? 'apps.removeTitle' : 'apps.unlinkTitle', { name })}
    confirm=${app.added ? t('apps.remove') : t('apps.unlink', { count })}
    kind="danger"
    busy=${removing}
    disabled=${!app.added && count === 0}
    onConfirm=${confirm}
    onCancel=${onClose}
  >
    <ul class="lib-consequences">
      <li>${t('links.willRemove', { count })}</li>
      <li>${t('apps.modelsStay')}</li>
      <li>${t(app.added ? 'apps.forgotten' : 'apps.stays', { name })}</li>
    </ul>
    ${removeError && html`<${ErrorBox} compact what=${t('apps.removeFailed')} error=${removeError} onRetry=${confirm} />`}
  <//>`
}

/** @param {{app: LibrarianApp}} props */
function AppCard({ app }) {
  const { links, health, mappings } = usePanel()
  const { t, term } = useI18n()
  const { report } = useStore(health)
  const [removing, setRemoving] = useState(false)
  const name = app.name || app.app
  const issues = issuesOf(report, app.app)
  const ghost = app.ghost || report?.ghost_apps.some((one) => one.app === app.app)
  const state = ghost ? 'gone' : issues > 0 ? 'issues' : (app.links ?? 0) > 0 ? 'ok' : 'none'
  const version = app.version && app.version !== '*' ? ` ${app.version}` : ''
  return html`<li class="lib-app" data-app=${app.app}>
    <div class="lib-app-text">
      <strong><bdi>${name}</bdi></strong>
      ${app.root && html`<${MiddleName} class="lib-entry-note" text=${app.root} />`}
      <span class="lib-entry-note">${[`${term('apps.kind', app.kind)}${version}`, t('links.folders', { count: Object.keys(app.folders ?? {}).length }), t('links.count', { count: app.links ?? 0 })].join(' · ')}</span>
      ${(report || ghost) && state !== 'none' &&
      html`<span class="lib-app-state" data-state=${state}><${Icon} name=${state === 'ok' ? 'check' : 'warn'} />${state === 'gone' ? t('apps.gone') : state === 'ok' ? t('apps.ok') : t('health.issues', { count: issues })}</span>`}
      ${(app.problems ?? []).map((problem) => html`<span class="lib-app-state" data-state="issues" key=${problem}><${Icon} name="warn" /><span dir="auto">${problem}</span></span>`)}
    </div>
    <div class="lib-app-actions">
      <${Button} aria-label=${t('links.previewOf', { name })} onClick=${() => links.preview(app.app)}>${t('links.preview')}<//>
      <${Popover} label=${t('apps.more', { name })} role="menu"
        button=${(/** @type {any} */ props) => html`<${IconButton} icon="more" label=${t('apps.more', { name })} ...${props} />`}>
        ${(/** @type {() => void} */ close) => html`
          <button type="button" class="lib-menu-item is-two-line" role="menuitem" onClick=${() => {
            close()
            void mappings.open(app)
            links.open('mapping')
          }}><${Icon} name="controls" /><span class="lib-menu-text">${t('mapping.open')}<small>${t('mapping.openText')}</small></span></button>
          <button type="button" class="lib-menu-item is-two-line" role="menuitem" disabled=${!app.added && !app.links} onClick=${() => {
            close()
            setRemoving(true)
          }}><${Icon} name="unlink" /><span class="lib-menu-text">${t(app.added ? 'apps.removeItem' : 'apps.unlinkItem')}<small>${t('links.count', { count: app.links ?? 0 })}</small></span></button>
        `}
      <//>
    </div>
    ${removing && html`<${RemoveDialog} app=${app} onClose=${() => setRemoving(false)} />`}
  </li>`
}

/** The apps, how their links do, and what can be done. */
export function AppsPage() {
  const panel = usePanel()
  const { links } = panel
  const { t } = useI18n()
  const { apps, loading, error } = useStore(panel.apps)
  const add = () => {
    panel.apps.begin()
    links.open('add')
  }
  return html`<div class="lib-place-body">
    <h2 class="lib-place-title" tabindex="-1" data-page-title>${t('links.title')}</h2>
    <p class="lib-note">${t('links.intro')}</p>
    <${HealthCard} />
    ${error && html`<${ErrorBox} what=${t('links.failed')} error=${error} onRetry=${panel.apps.load} />`}
    ${!apps && loading && html`<${SkeletonRows} count=${2} />`}
    ${apps && apps.length === 0 && html`<${Empty} icon="link" title=${t('links.noApps')} text=${t('links.noAppsText')} />`}
    ${apps && apps.length > 0 && html`<ul class="lib-apps" aria-label=${t('apps.title')}>${apps.map((app) => html`<${AppCard} key=${app.app} app=${app} />`)}</ul>`}
    <div class="lib-actions">
      ${apps && apps.length > 1 && html`<${Button} kind="primary" icon="link" onClick=${() => links.preview('')}>${t('links.previewAll')}<//>`}
      <${Button} icon="plus" onClick=${add}>${t('apps.add')}<//>
      <${Button} icon="folder" onClick=${() => links.open('move')}>${t('move.open')}<//>
    </div>
  </div>`
}
