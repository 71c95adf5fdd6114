import { html } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { LongList, PageHead, PathLine } from './links-parts.mjs'
import { Button, Empty, ErrorBox, MiddleName } from './parts.mjs'

/** @import { LinkChange } from '../stores/relocation.mjs' */

/** One link and what became, or would become, of it. @param {{change: LinkChange}} props */
function ChangeRow({ change }) {
  const moved = change.source !== change.old_source ? change.old_source : change.old_target
  return html`<li class="lib-entry">
    <div class="lib-entry-text">
      <${PathLine} target=${change.target} source=${change.source} note=${change.problem ?? undefined} />
      <span class="lib-entry-note lib-struck"><${MiddleName} text=${moved} /></span>
    </div>
  </li>`
}

/** @param {{changes: LinkChange[]}} props */
const Changes = ({ changes }) =>
  html`<${LongList} entries=${changes} row=${(/** @type {LinkChange} */ change) => html`<${ChangeRow} key=${change.link_id} change=${change} />`} />`

/** Links follow a folder that is elsewhere now: first a look, then the change. */
export function MovePage() {
  const { relocation, links, health } = usePanel()
  const { t } = useI18n()
  const { oldPrefix, newPrefix, busy, error, would, moved } = useStore(relocation)
  const { report } = useStore(health)
  const folder = (/** @type {string} */ path) => path.replace(/[\\/][^\\/]*$/, '')
  const gone = [...new Set([...(report?.ghost_apps ?? []).map(({ root }) => root), ...(report?.broken_links ?? []).map(({ source }) => folder(source ?? ''))])].filter(Boolean).slice(0, 20)
  const ready = Boolean(oldPrefix.trim() && newPrefix.trim())
  const answer = would ?? moved
  /** @param {'oldPrefix' | 'newPrefix'} name @param {string} value */
  const field = (name, value) => html`<label for=${`lib-move-${name}`}>${t(`move.${name}`)}</label>
    <input id=${`lib-move-${name}`} class="lib-input" type="text" dir="auto" spellcheck="false" autocomplete="off" list=${name === 'oldPrefix' ? 'lib-move-gone' : undefined}
      placeholder=${name === 'oldPrefix' ? '/media/old-drive' : '/media/new-drive'} value=${value}
      onInput=${(/** @type {any} */ event) => relocation.edit({ [name]: event.target.value })}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key !== 'Escape' && event.stopPropagation()} />`
  return html`<div class="lib-place-body">
      <${PageHead} title=${t('move.title')} onBack=${() => links.open('apps')} />
      <p class="lib-note">${t('move.text')}</p>
      <form class="lib-form" onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault()
        if (ready) void relocation.look()
      }}>
        ${field('oldPrefix', oldPrefix)} ${field('newPrefix', newPrefix)}
        <datalist id="lib-move-gone">${gone.map((path) => html`<option key=${path} value=${path} />`)}</datalist>
        <div class="lib-actions"><${Button} type="submit" icon="eye" disabled=${!ready} busy=${busy && !would} onClick=${() => {}}>${t('move.look')}<//></div>
      </form>
      ${error && html`<${ErrorBox} what=${t('move.failed')} error=${error} />`}
      ${would && would.links.length === 0 && would.failed.length === 0 && html`<${Empty} icon="link" title=${t('move.nothing')} text=${t('move.nothingText')} />`}
      ${would && would.links.length > 0 && html`<h3 class="lib-group-title">${t('move.would', { count: would.links.length })}</h3><${Changes} changes=${would.links} />`}
      ${moved && html`<p class="lib-callout" data-severity="success" role="status"><${Icon} name="check" /><span>${t('move.moved', { count: moved.updated })}</span></p>`}
      ${answer && answer.failed.length > 0 && html`<h3 class="lib-group-title">${t('move.left', { count: answer.failed.length })}</h3><${Changes} changes=${answer.failed} />`}
      ${moved && html`<div class="lib-actions"><${Button} kind="primary" icon="check" onClick=${() => {
        relocation.edit({ oldPrefix: '', newPrefix: '' })
        links.open('apps')
      }}>${t('links.finish')}<//></div>`}
    </div>
    ${would && would.links.length > 0 && html`<footer class="lib-place-foot">
      <${Button} kind="primary" icon="link" busy=${busy} onClick=${relocation.move}>${t('move.move', { count: would.links.length })}<//>
    </footer>`}`
}
