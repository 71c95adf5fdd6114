import { html, useState } from '../../vendor/htm-preact.mjs'
import { chosenOf, isImportable, isPickle, sizeOf, valueOf } from '../stores/drafts.mjs'
import { fold } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { SUBTYPES } from './details-sheet.mjs'
import { Icon } from './icons.mjs'
import { DraftRow } from './import-draft.mjs'
import { Button, Empty, IconButton } from './parts.mjs'

/** @import { Draft } from '../stores/drafts.mjs' */

/** Drafts drawn at once; more on request. */
const PAGE = 60
/** Up to this many, Hugging Face can be asked about all at once. */
const ASKED = 50
/** From this many on, the list can be searched. */
const MANY = 8

/** Every draft, page by page. @param {{drafts: Draft[]}} props */
function Drafts({ drafts }) {
  const { t } = useI18n()
  const [shown, setShown] = useState(PAGE)
  return html`
    <ul class="lib-drafts">${drafts.slice(0, shown).map((draft) => html`<${DraftRow} key=${draft.key} draft=${draft} />`)}</ul>
    ${drafts.length > shown &&
    html`<div class="lib-actions"><${Button} onClick=${() => setShown(shown + PAGE)}>${t('import.showMore', { count: Math.min(PAGE, drafts.length - shown) })}<//></div>`}
  `
}

/** What holds for many at once. @param {{drafts: Draft[], able: Draft[]}} props the drafts shown */
function ForMany({ drafts, able }) {
  const { imports, status } = usePanel()
  const { t, term } = useI18n()
  const { filter } = useStore(imports)
  const offline = Boolean(useStore(status).status?.network.offline)
  const chosen = chosenOf(drafts)
  const unasked = chosen.filter(({ lookup }) => !lookup.answer).length
  const visible = new Set(able.map(({ key }) => key))
  const all = able.length > 0 && able.every(({ include }) => include)
  const kinds = new Set(chosen.map((draft) => valueOf(draft, 'subtype')))
  const kind = kinds.size === 1 ? ([...kinds][0] ?? '') : ''
  return html`<div class="lib-for-many">
    ${drafts.length > MANY &&
    html`<input type="search" class="lib-input" value=${filter} placeholder=${t('import.filter')} aria-label=${t('import.filter')}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => (event.key !== 'Escape' || filter) && event.stopPropagation()}
      onInput=${(/** @type {any} */ event) => imports.setFilter(event.target.value)} />`}
    <label class="lib-choice">
      <input type="checkbox" checked=${all} onChange=${(/** @type {any} */ event) => imports.includeAll(visible, event.target.checked)} />
      <span>${t('import.all')}</span>
    </label>
    <label class="lib-kind-all">
      <span>${t('import.kindForAll')}</span>
      <select class="lib-input" disabled=${chosen.length === 0} value=${kind} onChange=${(/** @type {any} */ event) => imports.describeAll(event.target.value)}>
        ${!SUBTYPES.includes(kind) && html`<option value=${kind} disabled>–</option>`}
        ${SUBTYPES.map((value) => html`<option key=${value} value=${value}>${term('subtype', value)}</option>`)}
      </select>
    </label>
    ${!offline && unasked > 0 && chosen.length <= ASKED &&
    html`<${Button} kind="quiet" icon="globe" busy=${chosen.some(({ lookup }) => lookup.asking)} onClick=${imports.lookUpAll}>${t('import.askAll', { count: unasked })}<//>`}
  </div>`
}

/** What they are. */
export function Describe() {
  const { imports, uploads } = usePanel()
  const { t, bytes } = useI18n()
  const { drafts, filter } = useStore(imports)
  const coming = useStore(uploads).uploads.filter(({ state }) => state !== 'done').length
  if (drafts.length === 0) {
    return html`<${Empty} icon="file" title=${t('import.foundNone')} text=${t('import.foundNoneText')}>
      <${Button} icon="back" onClick=${imports.back}>${t('action.back')}<//>
    <//>`
  }
  const wanted = fold(filter).trim()
  const shown = wanted ? drafts.filter((draft) => fold(`${draft.group.name} ${valueOf(draft, 'official_name')}`).includes(wanted)) : drafts
  const able = shown.filter((draft) => isImportable(draft))
  const unable = shown.filter((draft) => !isImportable(draft))
  const chosen = chosenOf(drafts)
  const pickles = chosen.filter(isPickle).length
  return html`
    <div class="lib-place-body">
      <div class="lib-place-head">
        <${IconButton} icon="back" label=${t('action.back')} onClick=${imports.back} />
        <h2 class="lib-place-title" tabindex="-1" data-step-title>${t('import.found', { count: drafts.length })}</h2>
      </div>
      ${coming > 0 && html`<p class="lib-callout" data-severity="info"><${Icon} name="info" /><span>${t('import.coming', { count: coming })}</span></p>`}
      ${drafts.filter(isImportable).length > 1 && html`<${ForMany} drafts=${drafts} able=${able} />`}
      ${shown.length === 0 && html`<p class="lib-note">${t('import.filterNone')}</p>`}
      ${able.length > 0 && html`<${Drafts} drafts=${able} />`}
      ${unable.length > 0 &&
      html`<h3 class="lib-group-title">${t('import.leftOut', { count: unable.length })}</h3><${Drafts} drafts=${unable} />`}
    </div>
    <footer class="lib-place-foot">
      <p class="lib-note" role="status">
        ${chosen.length === 0 ? t('import.noneChosen') : t('import.chosen', { count: chosen.length, size: bytes(sizeOf(chosen)) })}
        ${pickles > 0 && html` · <span class="lib-warn-text">${t('import.pickleCount', { count: pickles })}</span>`}
      </p>
      <${Button} kind="primary" disabled=${chosen.length === 0} onClick=${imports.next} data-import-next="true">${t('import.next')}<//>
    </footer>
  `
}
