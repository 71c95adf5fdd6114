import { html } from '../../vendor/htm-preact.mjs'
import { baseName } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { LongList, Part, PathLine } from './links-parts.mjs'
import { Button } from './parts.mjs'

/** @import { Resolution } from '../stores/links.mjs' */
/** @import { Plan, PlanEntry } from '../types.mjs' */

const RESOLUTIONS = /** @type {const} */ (['skip', 'overwrite', 'rename'])

/** @param {{value: Resolution, onChange: (value: Resolution) => void, label: string, mixed?: boolean, reason?: string | undefined}} props */
function ResolutionSelect({ value, onChange, label, mixed = false, reason }) {
  const { t } = useI18n()
  const words = (/** @type {Resolution} */ one) =>
    t(one !== 'overwrite' ? `links.resolution.${one}` : reason === 'same_bytes' ? 'links.replaceCopy' : reason === 'linked_to_different_source' ? 'links.replaceLink' : 'links.resolution.overwrite')
  return html`<select class="lib-input lib-resolution" aria-label=${label} value=${mixed ? '' : value}
    onChange=${(/** @type {any} */ event) => event.target.value && onChange(event.target.value)}>
    ${mixed && html`<option value="">${t('links.mixed')}</option>`}
    ${RESOLUTIONS.map((one) => html`<option key=${one} value=${one}>${words(one)}</option>`)}
  </select>`
}

/** What is in the way of a link, and what is to become of it. @param {{conflict: PlanEntry}} props */
function ConflictRow({ conflict }) {
  const { links } = usePanel()
  const { t, term, bytes } = useI18n()
  const { resolutions, defaultResolution } = useStore(links)
  const resolution = resolutions[conflict.target] ?? defaultResolution
  const name = baseName(conflict.target)
  const key = resolution === 'overwrite' ? conflict.reason : resolution
  return html`<li class="lib-entry lib-conflict">
    <${PathLine} target=${conflict.target} source=${conflict.source} />
    <p class="lib-conflict-reason">${term('links.reason', conflict.reason)}${conflict['existing']?.startsWith('link to ') ? html` <code>${conflict['existing'].slice(8)}</code>` : ''}</p>
    <${ResolutionSelect} value=${resolution} reason=${conflict.reason} label=${t('links.resolve', { name })}
      onChange=${(/** @type {Resolution} */ choice) => links.resolve(conflict.target, choice)} />
    <p class="lib-entry-note lib-conflict-what">${t(`links.what.${key}`, { name, size: bytes(conflict.size_bytes) })}</p>
  </li>`
}

/** @param {{plan: Plan}} props */
export function Conflicts({ plan }) {
  const { links } = usePanel()
  const { t, bytes } = useI18n()
  const { resolutions, defaultResolution } = useStore(links)
  const { conflicts } = plan
  if (conflicts.length === 0) return null
  const mixed = Object.values(resolutions).some((one) => one !== defaultResolution)
  const copies = conflicts.filter(({ reason }) => reason === 'same_bytes')
  const left = copies.filter(({ target }) => (resolutions[target] ?? defaultResolution) !== 'overwrite')
  const size = bytes(copies.reduce((sum, { size_bytes }) => sum + (size_bytes ?? 0), 0))
  return html`<${Part} id="conflicts" icon="warn" tone="warn" open title=${t('links.conflicts', { count: conflicts.length })}>
    <div class="lib-conflict-all">
      <span>${t('links.forAll')}</span>
      <${ResolutionSelect} value=${defaultResolution} mixed=${mixed} onChange=${links.resolveAll} label=${t('links.forAll')} />
    </div>
    ${copies.length > 0 &&
    html`<div class="lib-callout lib-copies" data-severity="info">
      <div>${t('links.copies', { count: copies.length, size })}
        ${left.length > 0 && html`<${Button} icon="link" onClick=${links.replaceCopies}>${t('links.replaceCopies', { count: copies.length, size })}<//>`}
      </div>
    </div>`}
    <${LongList} entries=${conflicts} row=${(/** @type {PlanEntry} */ conflict) => html`<${ConflictRow} key=${conflict.target} conflict=${conflict} />`} />
  <//>`
}
