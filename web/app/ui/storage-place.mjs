import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { nameOf } from './model-list.mjs'
import { Button, Empty, ErrorBox, MiddleName, SkeletonRows, Tile } from './parts.mjs'
import { Duplicates } from './storage-duplicates.mjs'

/** @import { Share } from '../stores/storage.mjs' */
/** @import { ModelRow } from '../types.mjs' */

/** Bars that are shown of a chart before it is asked for more. */
const BARS = 6

/**
 * One line of a chart: a name, a bar and its numbers. The numbers say it all; the bar is for the eye.
 * @param {{name: string, share: number, numbers: string, kind?: string | undefined, note?: string, onClick?: (() => void) | undefined}} props
 *   `kind` gives it the colour of a kind of model
 */
function Bar({ name, share, numbers, kind, note, onClick }) {
  const content = html`<span class="lib-bar-name"><${MiddleName} text=${name} /></span>
    <span class="lib-bar-numbers">${numbers}</span>
    <span class="lib-bar-track" aria-hidden="true"><span data-subtype=${kind} style=${{ width: `${Math.max(share > 0 ? 0.5 : 0, share * 100)}%` }}></span></span>
    ${note && html`<span class="lib-bar-note">${note}</span>`}`
  return html`<li>${onClick ? html`<button type="button" class="lib-bar" onClick=${onClick}>${content}</button>` : html`<span class="lib-bar">${content}</span>`}</li>`
}

/** All of it in one line, a part for each kind; the chart by kind says the same in numbers. @param {{shares: Share[]}} props */
function Whole({ shares }) {
  const { bytes, term } = useI18n()
  return html`<div class="lib-whole" aria-hidden="true">
    ${shares.filter(({ size_bytes }) => size_bytes > 0).map(({ name, size_bytes }) => html`<span key=${name} data-subtype=${name} title=${`${term('subtype', name)}: ${bytes(size_bytes)}`} style=${{ flexGrow: size_bytes }}></span>`)}
  </div>`
}

/** @param {{id: string, title: string, shares: Share[], name: (share: Share) => string, of?: (share: Share) => number, kinds?: boolean,
 *   note?: (share: Share) => string, onChoose?: (share: Share) => void}} props `of` is what a bar is a part of; else the longest fills its line */
function Chart({ id, title, shares, name, of, kinds = false, note, onChoose }) {
  const { t, bytes } = useI18n()
  const [all, setAll] = useState(false)
  const most = Math.max(1, ...shares.map(({ size_bytes }) => size_bytes))
  const shown = all ? shares : shares.slice(0, BARS)
  return html`<section class="lib-section" data-chart=${id}>
    <header><h3>${title}</h3></header>
    <ul class="lib-bars" aria-label=${title}>
      ${shown.map((share) => html`<${Bar} key=${share.name} name=${name(share)} share=${Math.min(1, share.size_bytes / (of?.(share) || most))} kind=${kinds ? share.name : undefined}
        numbers=${t('storagePlace.share', { size: bytes(share.size_bytes), count: share.models })} note=${note?.(share)}
        onClick=${onChoose && share.name ? () => onChoose(share) : undefined} />`)}
    </ul>
    ${shares.length > BARS && !all && html`<${Button} kind="quiet" onClick=${() => setAll(true)}>${t('links.showMore', { count: shares.length - BARS })}<//>`}
  </section>`
}

/** @param {{models: ModelRow[]}} props */
function Largest({ models }) {
  const { view, details, search } = usePanel()
  const { t, bytes, term } = useI18n()
  if (models.length === 0) return null
  return html`<section class="lib-section" data-chart="largest">
    <header><h3>${t('storagePlace.largest')}</h3></header>
    <ol class="lib-largest">
      ${models.map((model) => html`<li key=${model.model_id}>
        <button type="button" onClick=${() => {
          search.setActive(model.model_id)
          details.open(model.model_id, model)
          view.go('models')
        }}>
          <${Tile} model=${model} />
          <span class="lib-row-text"><${MiddleName} class="lib-row-name" text=${nameOf(model)} /><span class="lib-row-facts">${term('subtype', model.subtype)}</span></span>
          <span class="lib-bar-numbers">${bytes(model.size_bytes)}</span>
        </button>
      </li>`)}
    </ol>
  </section>`
}

/** What takes the room, and what of it could come free. */
export function StoragePlace() {
  const { storage, search, view, jobs } = usePanel()
  const { t, bytes, term } = useI18n()
  const { report, largest, error, loading } = useStore(storage)
  const indexing = useStore(jobs).jobs.some((job) => job.kind === 'scan' && !hasEnded(job))
  useEffect(() => void storage.load(), [])

  /** @param {import('../stores/search.mjs').Filters} filters */
  const show = (filters) => {
    search.showOnly(filters)
    view.go('models')
  }
  const models = (report?.by_type ?? []).reduce((sum, share) => sum + share.models, 0)

  return html`<section class="lib-column lib-storage" aria-label=${t('places.storage')} aria-busy=${loading ? 'true' : 'false'}>
    <div class="lib-place-body">
      <h2 class="lib-place-title">${t('storagePlace.title')}</h2>
      ${error && html`<${ErrorBox} what=${t('storagePlace.failed')} error=${error} onRetry=${storage.load} />`}
      ${!report && !error && html`<${SkeletonRows} count=${6} />`}
      ${report && models === 0 && html`<${Empty} icon="drive" title=${t(indexing ? 'empty.indexing' : 'storagePlace.none')} text=${t(indexing ? 'empty.indexingText' : 'storagePlace.noneText')} />`}
      ${report && models > 0 && html`
        <p class="lib-storage-sum"><strong>${bytes(report.size_bytes)}</strong> ${t('storagePlace.inAll', { count: models })}</p>
        <${Whole} shares=${report.by_type} />
        <${Duplicates} />
        <${Chart} id="drive" title=${t('storagePlace.byDrive')} shares=${report.by_drive} name=${(/** @type {Share} */ share) => share.name} of=${(/** @type {Share} */ share) => share.total_bytes ?? 0}
          note=${(/** @type {Share} */ { free_bytes, total_bytes }) => (total_bytes ? t('storagePlace.free', { free: bytes(free_bytes), total: bytes(total_bytes) }) : '')} />
        <${Chart} id="type" title=${t('storagePlace.byType')} shares=${report.by_type} kinds name=${(/** @type {Share} */ share) => term('subtype', share.name) || t('storagePlace.unknown')}
          onChoose=${(/** @type {Share} */ { name }) => show({ subtype: [name] })} />
        <${Chart} id="family" title=${t('storagePlace.byFamily')} shares=${report.by_family} name=${(/** @type {Share} */ { name }) => (name && name !== 'unknown' ? name : t('storagePlace.unknown'))}
          onChoose=${(/** @type {Share} */ { name }) => show({ family: [name] })} />
        <${Largest} models=${largest} />
        <p class="lib-note">${t('storagePlace.counting')}</p>
      `}
    </div>
  </section>`
}
