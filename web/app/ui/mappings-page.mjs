import { html, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { PageHead } from './links-parts.mjs'
import { MappingFolders } from './mappings-folders.mjs'
import { MappingLibrary } from './mappings-library.mjs'
import { Button, Dialog, ErrorBox, SkeletonRows } from './parts.mjs'

/** Mappings that cannot be used, and why. */
function Damaged() {
  const { mappings } = usePanel()
  const { t } = useI18n()
  const { problems, app } = useStore(mappings)
  const ours = problems.filter(({ file }) => file.startsWith(`${app?.app}_`) || file.startsWith(`${app?.kind}_`))
  return ours.map(
    ({ file, key, reason }) => html`<div class="lib-callout" data-severity="error" key=${file} role="status"><${Icon} name="error" />
      <div><strong>${t('mapping.damaged', { file })}</strong><p>${key && html`<code>${key}</code>: `}${reason}</p></div></div>`
  )
}

/** Which models go into which folder of an app: the library at one side, the folders at the other. */
export function MappingPage() {
  const { mappings, links } = usePanel()
  const { t, term } = useI18n()
  const { app, loading, error, name, names, exists, drafts, dirty, saving, saveError, wrong } = useStore(mappings)
  const [asking, setAsking] = useState(/** @type {'leave' | 'reset' | null} */ (null))
  const back = () => links.open('apps')
  const title = app ? app.name || app.app : ''
  const unplaced = Object.entries(wrong).filter(([field]) => !/^rules\.\d+\.\w/.test(field))
  return html`<div class="lib-place-body lib-mapping">
      <${PageHead} title=${t('mapping.title', { name: title })} onBack=${() => (dirty ? setAsking('leave') : back())} />
      <p class="lib-note">${t('mapping.text')}</p>
      ${app && app.app === app.kind && html`<p class="lib-note">${t('mapping.forKind', { kind: term('apps.kind', app.kind) })}</p>`}
      ${names.length > 1 && html`<label class="lib-kind-line">${t('mapping.which')}
        <select class="lib-input lib-resolution" value=${name} disabled=${dirty} onChange=${(/** @type {any} */ event) => mappings.choose(event.target.value)}>
          ${names.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
        </select></label>`}
      ${error && html`<${ErrorBox} what=${t('mapping.failed')} error=${error} onRetry=${mappings.discard} />`}
      <${Damaged} />
      ${loading && !error && html`<${SkeletonRows} count=${6} />`}
      ${!loading && !error && app && html`<div class="lib-mapping-sides"><${MappingLibrary} /><${MappingFolders} /></div>`}
    </div>
    ${!loading && !error && html`<footer class="lib-place-foot">
      ${saveError && html`<${ErrorBox} compact what=${t('mapping.saveFailed')} error=${Object.keys(wrong).length > 0 ? { title: t('mapping.wrongFields', { count: Object.keys(wrong).length }), detail: unplaced.map(([field, message]) => `${field}: ${message}`).join('; ') } : saveError} />`}
      <div class="lib-mapping-foot">
        <${Button} kind="primary" icon="check" disabled=${!dirty} busy=${saving} onClick=${mappings.save}>${dirty ? t('mapping.save', { count: drafts.length }) : t('mapping.saved')}<//>
        ${dirty && html`<${Button} kind="quiet" onClick=${mappings.discard}>${t('mapping.discard')}<//>`}
        ${!dirty && app && html`<${Button} icon="eye" onClick=${() => links.preview(app.app)}>${t('links.preview')}<//>`}
        ${exists && !dirty && html`<${Button} kind="quiet" icon="refresh" onClick=${() => setAsking('reset')}>${t('mapping.reset')}<//>`}
      </div>
    </footer>`}
    ${asking === 'leave' && html`<${Dialog} title=${t('mapping.leaveTitle')} confirm=${t('mapping.discard')} kind="danger" onCancel=${() => setAsking(null)} onConfirm=${() => {
      setAsking(null)
      mappings.discard()
      back()
    }}><p>${t('mapping.leaveText')}</p><//>`}
    ${asking === 'reset' && html`<${Dialog} title=${t('mapping.resetTitle')} confirm=${t('mapping.reset')} kind="danger" busy=${saving} onCancel=${() => setAsking(null)} onConfirm=${async () => {
      await mappings.reset()
      setAsking(null)
    }}><p>${t('mapping.resetText', { count: drafts.length })}</p><//>`}`
}
