import { html, useState } from '../../vendor/htm-preact.mjs'
import { RULE_FILTERS } from '../mapping-rules.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon, iconOf } from './icons.mjs'
import { ErrorBox, MiddleName } from './parts.mjs'

/** @import { Chosen, RuleFilter } from '../mapping-rules.mjs' */
/** @import { ModelRow } from '../types.mjs' */

/** Values drawn of each filter; more on request. */
const SHOWN = 12
const ORDER = /** @type {RuleFilter[]} */ (Object.keys(RULE_FILTERS))

/** A value in the words of the panel. @param {{term: (group: string, value: string) => string}} i18n @param {string} filter @param {string} value */
export const wordOf = ({ term }, filter, value) => (filter === 'subtype' ? term('subtype', value) : filter === 'model_type' ? term('type', value) : value)

/**
 * A thing that can be dragged, or chosen. No `<button>`, because Firefox drags none.
 * @param {{class?: string, chosen: boolean, what: () => Chosen, onChoose: () => void, children?: any}} props
 */
function Pick({ class: className = '', chosen, what, onChoose, children }) {
  const { mappings } = usePanel()
  return html`<span class=${`lib-pick ${className}`} role="button" tabindex="0" aria-pressed=${chosen ? 'true' : 'false'} draggable=${true}
    onClick=${onChoose}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return
      event.preventDefault()
      event.stopPropagation()
      onChoose()
    }}
    ondragstart=${(/** @type {DragEvent} */ event) => {
      // Nor does it drag what carries no data.
      event.dataTransfer?.setData('text/plain', 'librarian')
      if (event.dataTransfer) event.dataTransfer.effectAllowed = 'copy'
      mappings.drag(what())
    }}
    ondragend=${() => mappings.drag(null)}
  >${children}</span>`
}

/** @param {{filter: RuleFilter, value: string, count: number}} props */
function Value({ filter, value, count }) {
  const { mappings } = usePanel()
  const i18n = useI18n()
  const { picked } = useStore(mappings)
  const chosen = (picked[filter] ?? []).includes(value)
  // One that is chosen brings along what is chosen with it.
  const what = () => ({ filters: chosen ? picked : { [filter]: [value] } })
  return html`<${Pick} chosen=${chosen} what=${what} onChoose=${() => mappings.toggle(filter, value)}>
    <span>${wordOf(i18n, filter, value)}</span><small>${i18n.number(count)}</small>
  <//>`
}

/** @param {{filter: RuleFilter, open: boolean}} props */
function Group({ filter, open }) {
  const { mappings } = usePanel()
  const { t } = useI18n()
  const { facets, picked } = useStore(mappings)
  const [all, setAll] = useState(false)
  const name = RULE_FILTERS[filter]
  const values = facets?.[name] ?? []
  if (values.length === 0) return null
  const listed = all ? values : values.filter(({ value }, at) => at < SHOWN || picked[filter]?.includes(value))
  return html`<details class="lib-plan-part lib-pick-group" open=${open}>
    <summary><${Icon} name="right" /><span>${t(`filters.${name}`)}</span></summary>
    <div class="lib-picks">
      ${listed.map(({ value, count }) => html`<${Value} key=${value} filter=${filter} value=${value} count=${count} />`)}
      ${values.length > listed.length && html`<button type="button" class="lib-link" onClick=${() => setAll(true)}>${t('links.showMore', { count: values.length - listed.length })}</button>`}
    </div>
  </details>`
}

/** @param {{model: ModelRow}} props */
function ModelPick({ model }) {
  const { mappings } = usePanel()
  const { bytes } = useI18n()
  const { pickedModel } = useStore(mappings)
  return html`<li><${Pick} class="lib-pick-model" chosen=${pickedModel?.model_id === model.model_id} what=${() => ({ filters: {}, model })} onChoose=${() => mappings.toggleModel(model)}>
    <${Icon} name=${iconOf(model.subtype)} /><${MiddleName} text=${model.official_name ?? model.model_id} /><small>${bytes(model.size_bytes)}</small>
  <//></li>`
}

/** What can be put into folders: values to filter by, and single models. */
export function MappingLibrary() {
  const { mappings } = usePanel()
  const { t } = useI18n()
  const { text, models, facets, libraryError } = useStore(mappings)
  return html`<section class="lib-mapping-side" aria-label=${t('mapping.library')}>
    <h3 class="lib-group-title">${t('mapping.library')}</h3>
    <p class="lib-note">${t('mapping.libraryText')}</p>
    ${libraryError && html`<${ErrorBox} compact what=${t('mapping.libraryFailed')} error=${libraryError} onRetry=${mappings.loadLibrary} />`}
    ${ORDER.map((filter) => html`<${Group} key=${filter} filter=${filter} open=${filter === 'subtype' || filter === 'families'} />`)}
    <input type="search" class="lib-input" value=${text} aria-label=${t('mapping.search')} placeholder=${t('mapping.search')}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => (event.key !== 'Escape' || text) && event.stopPropagation()}
      onInput=${(/** @type {any} */ event) => mappings.search(event.target.value)} />
    <ul class="lib-pick-models" aria-label=${t('mapping.models')}>${models.map((model) => html`<${ModelPick} key=${model.model_id} model=${model} />`)}</ul>
    ${facets && models.length === 0 && html`<p class="lib-note">${t('mapping.noModels')}</p>`}
  </section>`
}
