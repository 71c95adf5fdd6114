import { html, useEffect, useLayoutEffect, useRef } from '../../vendor/htm-preact.mjs'
import { remoteKey } from '../remote-files.mjs'
import { FILTERS, SORTS } from '../stores/search.mjs'
import { BulkBar } from './bulk-bar.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { DetailsSheet } from './details-sheet.mjs'
import { FirstRun, NothingYet } from './first-run.mjs'
import { addToGraph, canAdd } from './graph.mjs'
import { Icon } from './icons.mjs'
import { ModelList, optionId } from './model-list.mjs'
import { Button, Empty, ErrorBox, IconButton, Popover, SkeletonRows } from './parts.mjs'
import { RemoteSection } from './remote-section.mjs'
import { RemoteSheet } from './remote-sheet.mjs'

/** @import { FilterName } from '../stores/search.mjs' */
/** @import { ModelRow } from '../types.mjs' */

/** Where the words of a filter's values stand in the locales. @type {Partial<Record<FilterName, string>>} */
const TERMS = { subtype: 'subtype', type: 'type', tier: 'tier' }

/** @param {{onOpen: (model: ModelRow) => void, id?: string}} props `id` sets several lists in one page apart */
export function SearchField({ onOpen, id = 'lib' }) {
  const panel = usePanel()
  const { search } = panel
  const { t } = useI18n()
  const { text, loading, activeId, atHand, total } = useStore(search)
  const listed = (atHand?.length ?? total) > 0

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    // The state of this moment, not of the last drawing: keys can come faster.
    const now = search.get()
    const shown = now.atHand ?? now.rows
    const last = (now.atHand?.length ?? now.total) - 1
    const at = shown.positionOf(now.activeId)
    const { columns } = search.position
    const move = { ArrowDown: columns, ArrowUp: -columns, PageDown: 8, PageUp: -8 }[event.key]
    if (move !== undefined && last >= 0) {
      const next = shown.at(at < 0 ? (move > 0 ? 0 : last) : Math.max(0, Math.min(last, at + move)))
      // A row that is not fetched yet comes with the next key.
      if (next) search.setActive(next.model_id)
      event.preventDefault()
    } else if (event.key === 'Enter' && !event.isComposing) {
      const model = shown.at(at)
      if (!model) {
        if (last < 0) panel.remote.searchOnline()
        return
      }
      if (canAdd(panel, model) && !event.shiftKey) addToGraph(panel, model)
      else onOpen(model)
      event.preventDefault()
    } else if (event.key === 'Escape') {
      if (now.text) search.clearText()
      else if (now.activeId) search.setActive(null)
      else return
      event.preventDefault()
    } else return
    event.stopPropagation()
  }

  return html`<div class=${`lib-search ${loading ? 'is-busy' : ''}`} role="search">
    <${Icon} name="search" />
    <input
      type="search"
      class="lib-search-input"
      data-lib-search
      aria-controls=${listed ? `${id}-list` : undefined}
      aria-autocomplete="list"
      aria-activedescendant=${activeId ? optionId(id, activeId) : undefined}
      aria-label=${t('search.label')}
      placeholder=${t('search.placeholder')}
      autocomplete="off"
      autocapitalize="off"
      spellcheck=${false}
      value=${text}
      onInput=${(/** @type {any} */ event) => search.setText(event.target.value)}
      onKeyDown=${onKeyDown}
    />
    ${text
      ? html`<${IconButton}
          icon="close"
          class="is-small"
          label=${t('search.clear')}
          onClick=${(/** @type {any} */ event) => {
            search.clearText()
            event.currentTarget.closest('.lib-search').querySelector('input').focus()
          }}
        />`
      : html`<kbd class="lib-search-key" title=${t('search.keyHint')} aria-hidden="true">/</kbd>`}
  </div>`
}

/** One filter: what is chosen, and a menu of what can be. @param {{name: FilterName}} props */
function FilterChip({ name }) {
  const { search } = usePanel()
  const { t, term, number } = useI18n()
  const { filters, facets, facetsError } = useStore(search, 'filters', 'facets', 'facetsError')
  const chosen = filters[name] ?? []
  const label = (/** @type {string} */ value) => (TERMS[name] ? term(TERMS[name], value) : value)
  const first = chosen[0]
  const said = first === undefined ? t(`filters.${name}`) : chosen.length === 1 ? label(first) : t('filters.several', { value: label(first), count: chosen.length - 1 })

  const menu = () => {
    if (facetsError) return html`<${ErrorBox} compact error=${facetsError} onRetry=${search.loadFacets} />`
    if (!facets) return html`<${SkeletonRows} count=${3} />`
    const counted = [...(facets[name] ?? [])]
    for (const value of chosen) if (!counted.some((one) => one.value === value)) counted.push({ value, count: 0 })
    const named = counted.filter(({ value }) => value !== '')
    if (named.length === 0) return html`<p class="lib-menu-note">${t('filters.none')}</p>`
    return named.map(({ value, count }) => {
      const on = chosen.includes(value)
      return html`<button
        type="button"
        class="lib-menu-item"
        role="option"
        key=${value}
        aria-selected=${on ? 'true' : 'false'}
        onClick=${() => search.toggleFilter(name, value)}
      >
        <span class="lib-menu-check">${on && html`<${Icon} name="check" />`}</span>
        <span class="lib-menu-text">${label(value)}</span>
        <span class="lib-menu-count">${number(count)}</span>
      </button>`
    })
  }

  return html`<span class=${`lib-chip ${first === undefined ? '' : 'is-on'}`}>
    <${Popover}
      label=${t(`filters.${name}`)}
      role="listbox"
      onOpen=${search.loadFacets}
      button=${(/** @type {any} */ props) =>
        html`<button
          type="button"
          class="lib-chip-button"
          aria-label=${first === undefined ? t(`filters.${name}`) : t('filters.chosen', { filter: t(`filters.${name}`), value: chosen.map(label).join(', ') })}
          ...${props}
        >
          <span>${said}</span>
          ${first === undefined && html`<${Icon} name="down" />`}
        </button>`}
    >
      ${menu}
    <//>
    ${first !== undefined &&
    html`<${IconButton} icon="close" class="is-small" label=${t('filters.remove', { value: said })} onClick=${() => search.clearFilter(name)} />`}
  </span>`
}

function FilterChips() {
  const { search } = usePanel()
  const { t } = useI18n()
  const { filters } = useStore(search, 'filters')
  const names = /** @type {FilterName[]} */ (Object.keys(FILTERS))
  // What is chosen comes first, so that it is in sight even where the chips do not all fit.
  const ordered = [...names.filter((name) => filters[name]), ...names.filter((name) => !filters[name])]
  return html`<div class="lib-chips" role="group" aria-label=${t('filters.label')}>
    ${ordered.map((name) => html`<${FilterChip} key=${name} name=${name} />`)}
  </div>`
}

function SortMenu() {
  const { search } = usePanel()
  const { t } = useI18n()
  const { sortId, text } = useStore(search, 'sortId', 'text')
  // Nothing can match best while nothing is searched for: the server then lists the newest first.
  const searched = text.trim() !== ''
  const shown = sortId === 'best' && !searched ? 'newest' : sortId
  const order = t(`sort.${shown}`)
  return html`<${Popover}
    label=${t('sort.label')}
    role="menu"
    button=${(/** @type {any} */ props) =>
      html`<button type="button" class="lib-sort" aria-label=${t('sort.by', { order })} ...${props}>
        <${Icon} name="sort" /><span>${order}</span>
      </button>`}
  >
    ${(/** @type {() => void} */ close) =>
      SORTS.filter(({ id }) => searched || id !== 'best').map(
        ({ id }) =>
          html`<button
            type="button"
            class="lib-menu-item"
            role="menuitemradio"
            key=${id}
            aria-checked=${id === shown ? 'true' : 'false'}
            onClick=${() => {
              search.setSort(id)
              close()
            }}
          >
            <span class="lib-menu-check">${id === shown && html`<${Icon} name="check" />`}</span>
            <span class="lib-menu-text">${t(`sort.${id}`)}</span>
          </button>`
      )}
  <//>`
}

/** How many, and in which order. */
function ResultLine() {
  const { search, selection, view } = usePanel()
  const { selecting } = useStore(selection)
  const { grid } = useStore(view)
  const { t } = useI18n()
  const { total, loaded, loading, error, atHand, text, match, filters, updateOffered } = useStore(search)
  const count = atHand ? atHand.length : total
  const asked = text.trim() !== '' || Object.keys(filters).length > 0
  const how = !atHand && text.trim() && (match === 'fuzzy' || match === 'any') ? t(`search.match.${match}`) : ''
  return html`<div class="lib-result-line">
    <span class="lib-result-count" role="status" aria-live="polite">
      ${error ? '' : loading && count === 0 && asked ? t('search.searching') : loaded && (asked ? t('search.found', { count }) : t('search.all', { count }))}
      ${how && html`<span class="lib-result-how"> · ${how}</span>`}
    </span>
    ${updateOffered &&
    html`<button type="button" class="lib-update" onClick=${() => search.load()}>
      <${Icon} name="refresh" />${t('search.newResults')}
    </button>`}
    ${count > 0 && !error && html`<${IconButton} icon="tick" class="is-small" label=${t('bulk.begin')} aria-pressed=${selecting ? 'true' : 'false'} onClick=${() => (selecting ? selection.clear() : selection.begin())} />
      <${IconButton} icon=${grid ? 'list' : 'grid'} class="is-small" label=${t(grid ? 'search.asList' : 'search.asGrid')} onClick=${() => view.setGrid(!grid)} />`}
    <${SortMenu} />
  </div>`
}

/** @param {{onOpen: (model: ModelRow) => void, openId: string | null}} props */
function Results({ onOpen, openId }) {
  const { search, status } = usePanel()
  const { t } = useI18n()
  const state = useStore(search)
  const { status: told } = useStore(status)
  const asked = state.text.trim() !== '' || Object.keys(state.filters).length > 0

  if (state.error && !state.loading) {
    return html`<${ErrorBox} what=${t('search.failed')} error=${state.error} onRetry=${() => search.load()} />`
  }
  const shown = state.atHand ? state.atHand.length : state.total
  if (shown === 0 && (state.loading || !state.loaded)) return html`<${SkeletonRows} count=${10} />`
  if (shown === 0 && asked) {
    return html`<${Empty} icon="search" title=${t('empty.noHit')} text=${t('empty.noHitText')}>
      ${state.text && html`<${Button} onClick=${search.clearText}>${t('search.clear')}<//>`}
      ${Object.keys(state.filters).length > 0 && html`<${Button} onClick=${search.clearFilters}>${t('filters.clear')}<//>`}
    <//>`
  }
  if (shown === 0) return html`<${NothingYet} indexing=${told?.index.state === 'indexing'} />`
  return html`
    ${!asked && html`<${FirstRun} />`}
    ${state.pageError &&
    html`<${ErrorBox} compact what=${t('search.pageFailed')} error=${state.pageError} onRetry=${search.retryPages} />`}
    <${ModelList} onOpen=${onOpen} openId=${openId} choosable />
  `
}

/** @param {{wide: boolean}} props */
export function ModelsPlace({ wide }) {
  const { search, details, remote } = usePanel()
  const { t } = useI18n()
  const { modelId } = useStore(details)
  const { open: repository } = useStore(remote)
  const list = useRef(/** @type {any} */ (null))
  const { total, loaded, text, filters, error } = useStore(search, 'total', 'loaded', 'text', 'filters', 'error')
  const nothing = loaded && total === 0 && !error && !text.trim() && Object.keys(filters).length === 0
  const covered = Boolean(modelId || repository) && !wide

  // `inert` is a property that this Preact does not know; a covered list takes no focus and no click.
  useLayoutEffect(() => {
    if (list.current) list.current.inert = covered
  }, [covered])

  const wasOpen = useRef(modelId)
  useEffect(() => {
    if (wasOpen.current && !modelId) list.current?.querySelector('.lib-list, .lib-search-input')?.focus({ preventScroll: true })
    wasOpen.current = modelId
  }, [modelId])

  /** @param {ModelRow} model */
  const onOpen = (model) => {
    remote.close()
    search.setActive(model.model_id)
    details.open(model.model_id, model)
  }

  return html`<div class="lib-models">
    <section class="lib-models-list" ref=${list} aria-label=${t('places.models')}>
      <div class="lib-finder">
        <${SearchField} onOpen=${onOpen} />
        ${!nothing && html`<${FilterChips} /><${ResultLine} />`}
      </div>
      <div class="lib-results"><${Results} onOpen=${onOpen} openId=${modelId} /></div>
      <${RemoteSection} />
      <${BulkBar} />
    </section>
    ${modelId
      ? html`<${DetailsSheet} key=${modelId} />`
      : repository
      ? html`<${RemoteSheet} key=${remoteKey(repository.model)} />`
      : wide && html`<div class="lib-sheet lib-sheet-empty"><${Empty} icon="box" title=${t('details.none')} text=${t('details.noneText')} /></div>`}
  </div>`
}
