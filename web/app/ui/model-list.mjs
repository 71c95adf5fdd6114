import {
  Virtualizer,
  elementScroll,
  observeElementOffset,
  observeElementRect
} from '../../vendor/virtual-core/index.mjs'
import { Component, html, useEffect, useLayoutEffect, useReducer, useRef, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { addToGraph, canAdd, dragToGraph } from './graph.mjs'
import { Icon } from './icons.mjs'
import { isMatched } from '../trust.mjs'
import { MiddleName, TierBadge, Tile, TrustBadge } from './parts.mjs'

/** @import { ModelRow } from '../types.mjs' */

/** Height of a row in pixels; base.css says the same. */
export const ROW = 56
/** A card of the grid, in pixels: its least width, and what stands below its picture; models.css says the same. */
const CARD = 104
const CARD_TEXT = 58
const CARD_GAP = 8
/** Lines drawn above and below those in sight. */
const MARGIN = { list: 6, grid: 2 }

/** @param {ModelRow} model */
export const nameOf = (model) => model.official_name || model.file_name || model.model_id

/** What a model was made for, as far as that is known. @param {ModelRow} model */
export const lineage = (model) =>
  [model.base_model, model.family].find((word) => word && word !== 'unknown') ?? ''

/** @param {string} list @param {string} modelId */
export const optionId = (list, modelId) => `${list}-option-${encodeURIComponent(modelId)}`

/** How the cards of the grid fit into a width. @param {number} width pixels */
export function cardsIn(width) {
  const columns = Math.max(2, Math.floor((width - CARD_GAP) / (CARD + CARD_GAP)))
  const card = (width - CARD_GAP * (columns + 1)) / columns
  return { columns, card, height: Math.round(card + CARD_TEXT + CARD_GAP) }
}

/** The lines to draw of a long list. @param {{current: HTMLElement | null}} scroller @param {number} count
 * @param {number} initialOffset @param {number} height of a line, in pixels */
function useVirtualRows(scroller, count, initialOffset, height) {
  const [, draw] = useReducer((/** @type {number} */ times, /** @type {void} */ _) => times + 1, 0)
  const kept = useRef(/** @type {Virtualizer<HTMLElement, HTMLElement> | null} */ (null))
  /** @type {ConstructorParameters<typeof Virtualizer<HTMLElement, HTMLElement>>[0]} */
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: height > ROW ? MARGIN.grid : MARGIN.list,
    initialOffset,
    // A hidden panel has no height; it keeps the rows it would show.
    observeElementRect: (instance, tell) =>
      observeElementRect(instance, (rect) => tell(rect.height ? rect : { width: 320, height: 640 })),
    observeElementOffset,
    scrollToFn: elementScroll,
    onChange: () => draw()
  }
  kept.current ??= new Virtualizer(options)
  const virtualizer = kept.current
  virtualizer.setOptions(options)
  const measured = useRef(height)
  if (measured.current !== height) {
    measured.current = height
    virtualizer.measure()
  }
  useLayoutEffect(() => virtualizer._didMount(), [])
  useLayoutEffect(() => virtualizer._willUpdate())
  return virtualizer
}

/** The width of an element, in pixels. @param {{current: HTMLElement | null}} element */
function useWidth(element) {
  const [width, setWidth] = useState(320)
  useLayoutEffect(() => {
    const measure = () => setWidth(element.current?.clientWidth || 320)
    measure()
    const sizes = new ResizeObserver(measure)
    sizes.observe(/** @type {HTMLElement} */ (element.current))
    return () => sizes.disconnect()
  }, [])
  return width
}

/** @param {{model: ModelRow}} props */
function RowText({ model }) {
  const { bytes, term, told } = useI18n()
  const kind = [term('subtype', model.subtype || model.model_type), lineage(model)].filter(Boolean).join(' · ')
  return html`<span class="lib-row-text">
    <${MiddleName} class="lib-row-name" text=${nameOf(model)} />
    <span class="lib-row-facts">
      ${model.problem && html`<span class="lib-row-problem" title=${told({ message: model.problem, said: model.problem_said })}><${Icon} name="warn" /></span>`}
      <span class="lib-row-kind">${kind}</span><span class="lib-row-size"> · ${bytes(model.size_bytes)}</span>
    </span>
  </span>`
}

/** The marks at the end of a row. @param {{model: ModelRow}} props */
function Marks({ model }) {
  const { t } = useI18n()
  const tier = html`<${TierBadge} tier=${model.security_tier} pickle=${model.pickle_state} inList />`
  const quiet = model.security_tier === 'safe'
  return html`<span class="lib-row-marks">
    <span class="lib-row-marks-line">
      ${model.linked &&
      html`<span class="lib-mark" role="img" aria-label=${t('model.linked')} title=${t('model.linked')}>
        <${Icon} name="link" />
      </span>`}
      ${isMatched(model) && html`<${TrustBadge} model=${model} iconOnly />`}
      ${quiet && tier}
    </span>
    ${!quiet && tier}
  </span>`
}

/**
 * One model of the list. Ctrl (or ⌘) and a click choose it, Shift and a click choose all up to it.
 * @param {{model: ModelRow, id: string, at: number, count: number, place: Record<string, string>, active: boolean, open: boolean,
 *   choosable: boolean, chosen: boolean, selecting: boolean, grid: boolean, onOpen: (model: ModelRow) => void}} props
 */
function Option({ model, id, at, count, place, active, open, choosable, chosen, selecting, grid, onOpen }) {
  const panel = usePanel()
  const { search, selection } = panel
  const { t } = useI18n()
  /** @param {MouseEvent} event */
  const choose = (event) => {
    search.setActive(model.model_id)
    const { rows, atHand } = search.get()
    if (event.shiftKey) selection.extend(model, atHand ?? rows)
    else selection.toggle(model)
  }
  return html`<div
    class=${`lib-slot ${grid ? 'lib-card' : 'lib-row'} ${active ? 'is-active' : ''} ${open ? 'is-open' : ''} ${chosen ? 'is-chosen' : ''}`}
    id=${optionId(id, model.model_id)}
    role="option"
    aria-selected=${(selecting ? chosen : active) ? 'true' : 'false'}
    aria-setsize=${count}
    aria-posinset=${at + 1}
    style=${place}
    onPointerDown=${(/** @type {PointerEvent} */ event) => dragToGraph(panel, model, event)}
    onClick=${(/** @type {MouseEvent} */ event) => {
      if (choosable && (event.ctrlKey || event.metaKey || event.shiftKey)) return choose(event)
      search.setActive(model.model_id)
      onOpen(model)
    }}
  >
    ${choosable &&
    html`<span class="lib-tick" aria-hidden="true" title=${t('bulk.choose')}
      onPointerDown=${(/** @type {Event} */ event) => event.stopPropagation()}
      onClick=${(/** @type {MouseEvent} */ event) => {
        event.stopPropagation()
        choose(event)
      }}><span>${chosen && html`<${Icon} name="check" />`}</span></span>`}
    <${Tile} model=${model} />
    <${RowText} model=${model} />
    <${Marks} model=${model} />
    ${canAdd(panel, model) &&
    html`<span
      class="lib-row-add"
      aria-hidden="true"
      title=${t('graph.add')}
      onPointerDown=${(/** @type {Event} */ event) => event.stopPropagation()}
      onClick=${(/** @type {Event} */ event) => {
        event.stopPropagation()
        addToGraph(panel, model)
      }}
    >
      <${Icon} name="plus" />
    </span>`}
  </div>`
}

/** A row, or the hole where one will be; drawn again only where something of it is another. */
class Slot extends Component {
  /** @param {Record<string, unknown>} next */
  shouldComponentUpdate(next) {
    const now = /** @type {Record<string, unknown>} */ (this.props)
    return Object.keys(next).some((name) => !Object.is(next[name], now[name]))
  }

  render() {
    const { transform, insetInlineStart, width, height, ...row } = /** @type {any} */ (this.props)
    const place = { transform, insetInlineStart, width, height }
    return row.model
      ? html`<${Option} ...${row} place=${place} />`
      : html`<div class=${`lib-slot lib-hole ${row.grid ? 'lib-card' : ''}`} role="presentation" style=${place}></div>`
  }
}

/** The models found. @param {{onOpen: (model: ModelRow) => void, openId: string | null, id?: string, choosable?: boolean}} props
 *  `choosable` lists take a selection and may be a grid */
export function ModelList({ onOpen, openId, id = 'lib', choosable = false }) {
  const panel = usePanel()
  const { search, selection, view } = panel
  const { t } = useI18n()
  const state = useStore(search)
  const { chosen, selecting } = useStore(selection)
  const { grid: wantsGrid } = useStore(view)
  const grid = choosable && wantsGrid
  const scroller = useRef(/** @type {HTMLElement | null} */ (null))
  const width = useWidth(scroller)

  const rows = state.atHand ?? state.rows
  const count = state.atHand ? state.atHand.length : state.total
  const { columns, card, height } = grid ? cardsIn(width) : { columns: 1, card: 0, height: ROW }
  search.position.columns = columns
  const virtualizer = useVirtualRows(scroller, Math.ceil(count / columns), search.position.scrollTop, height)
  const lines = virtualizer.getVirtualItems()
  const first = (lines[0]?.index ?? 0) * columns
  const last = Math.max(first, Math.min(count, ((lines[lines.length - 1]?.index ?? 0) + 1) * columns) - 1)

  useLayoutEffect(() => {
    // Back where one was, after the tab was closed and opened again.
    if (scroller.current) scroller.current.scrollTop = search.position.scrollTop
  }, [])

  const generation = useRef(state.generation)
  useLayoutEffect(() => {
    if (generation.current === state.generation) return
    generation.current = state.generation
    virtualizer.scrollToOffset(0)
  }, [state.generation])

  useEffect(() => {
    if (!state.atHand && state.pageError === null) search.ensure(first, last)
  }, [first, last, state.atHand, state.generation, state.rows, state.pageError])

  useLayoutEffect(() => {
    const at = state.activeId ? rows.positionOf(state.activeId) : -1
    if (at >= 0) virtualizer.scrollToIndex(Math.floor(at / columns), { align: 'auto' })
  }, [state.activeId, columns])

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const now = search.get()
    const shown = now.atHand ?? now.rows
    const found = now.activeId ? shown.positionOf(now.activeId) : -1
    const model = shown.at(found)
    const forward = scroller.current && getComputedStyle(scroller.current).direction === 'rtl' ? -1 : 1
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? height) / height) - 1) * columns
    const steps = /** @type {Record<string, number>} */ ({
      ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
      ...(grid && { ArrowRight: forward, ArrowLeft: -forward })
    })
    const step = steps[event.key]
    const all = event.key.toLowerCase() === 'a' && (event.ctrlKey || event.metaKey)
    if (step !== undefined) {
      const to = found < 0 ? (step === Infinity ? count - 1 : step === -Infinity ? 0 : first) : Math.max(0, Math.min(count - 1, found + step))
      const next = shown.at(to)
      if (next) search.setActive(next.model_id)
      // Not fetched yet: go there, its rows follow.
      else virtualizer.scrollToIndex(Math.floor(to / columns))
      if (next && event.shiftKey && choosable) {
        if (chosen.size === 0 && model) selection.toggle(model)
        selection.extend(next, shown)
      }
    } else if (choosable && all) void selection.all()
    else if (choosable && event.key === 'Escape' && selection.get().selecting) selection.clear()
    else if (choosable && model && event.key === ' ') selection.toggle(model)
    else if (model && (event.key === 'Enter' || event.key === ' ' || event.key === 'ArrowRight')) onOpen(model)
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  const space = virtualizer.getTotalSize() + (grid ? CARD_GAP : 0)
  const places = lines.flatMap((line) =>
    Array.from({ length: Math.min(columns, count - line.index * columns) }, (_, column) => ({
      at: line.index * columns + column,
      place: /** @type {Record<string, string>} */ (
        grid
          ? { transform: `translateY(${line.start + CARD_GAP}px)`, insetInlineStart: `${CARD_GAP + column * (card + CARD_GAP)}px`, width: `${card}px`, height: `${height - CARD_GAP}px` }
          : { transform: `translateY(${line.start}px)` }
      )
    }))
  )
  // While one scrolls, what is drawn already stays as it is, and a row that goes out of sight becomes one that comes in.
  const slots = useRef(0)
  const room = Math.ceil((virtualizer.scrollRect?.height ?? 0) / height) + 1 + 2 * (grid ? MARGIN.grid : MARGIN.list)
  slots.current = Math.max(slots.current, places.length, room * columns)
  return html`<div
    class=${`lib-list ${grid ? 'is-grid' : ''} ${choosable ? 'is-choosable' : ''} ${selecting && choosable ? 'is-selecting' : ''}`}
    ref=${scroller}
    id=${`${id}-list`}
    role="listbox"
    tabindex="0"
    style=${{ flexBasis: `${space}px` }}
    aria-label=${t('search.results')}
    aria-multiselectable=${choosable && selecting ? 'true' : undefined}
    aria-busy=${state.loading ? 'true' : 'false'}
    aria-activedescendant=${state.activeId && places.some(({ at }) => rows.at(at)?.model_id === state.activeId) ? optionId(id, state.activeId) : undefined}
    onKeyDown=${onKeyDown}
    onScroll=${() => (search.position.scrollTop = scroller.current?.scrollTop ?? 0)}
  >
    <div class="lib-list-space" role="presentation" style=${{ height: `${space}px` }}>
      ${places.map(({ at, place }) => {
        const model = rows.at(at)
        const slot = at % slots.current
        const [active, open, isChosen] = model ? [model.model_id === state.activeId, model.model_id === openId, choosable && chosen.has(model.model_id)] : []
        return html`<${Slot} key=${slot} ...${place} model=${model} id=${id} at=${at} count=${count} active=${active} open=${open}
          choosable=${choosable} chosen=${isChosen} selecting=${choosable && selecting} grid=${grid} onOpen=${onOpen} />`
      })}
    </div>
  </div>`
}
