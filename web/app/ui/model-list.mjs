import {
  Virtualizer,
  elementScroll,
  observeElementOffset,
  observeElementRect
} from '../../vendor/virtual-core/index.mjs'
import { html, useEffect, useLayoutEffect, useReducer, useRef } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { addToGraph, canAdd, dragToGraph } from './graph.mjs'
import { Icon } from './icons.mjs'
import { isMatched } from '../trust.mjs'
import { MiddleName, SkeletonRow, TierBadge, Tile, TrustBadge } from './parts.mjs'

/** @import { ModelRow } from '../types.mjs' */

/** Height of a row in pixels; panel.css says the same. */
export const ROW = 56

/** @param {ModelRow} model */
export const nameOf = (model) => model.official_name || model.file_name || model.model_id

/** What a model was made for, as far as that is known. @param {ModelRow} model */
export const lineage = (model) =>
  [model.base_model, model.family].find((word) => word && word !== 'unknown') ?? ''

/** @param {string} list @param {string} modelId */
export const optionId = (list, modelId) => `${list}-option-${encodeURIComponent(modelId)}`

/** The rows to draw of a long list. @param {{current: HTMLElement | null}} scroller @param {number} count
 * @param {number} initialOffset */
function useVirtualRows(scroller, count, initialOffset) {
  const [, draw] = useReducer((/** @type {number} */ times, /** @type {void} */ _) => times + 1, 0)
  const kept = useRef(/** @type {Virtualizer<HTMLElement, HTMLElement> | null} */ (null))
  /** @type {ConstructorParameters<typeof Virtualizer<HTMLElement, HTMLElement>>[0]} */
  const options = {
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 6,
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
  useLayoutEffect(() => virtualizer._didMount(), [])
  useLayoutEffect(() => virtualizer._willUpdate())
  return virtualizer
}

/** @param {{model: ModelRow}} props */
function RowText({ model }) {
  const { bytes, term } = useI18n()
  const kind = [term('subtype', model.subtype || model.model_type), lineage(model)].filter(Boolean).join(' · ')
  return html`<span class="lib-row-text">
    <${MiddleName} class="lib-row-name" text=${nameOf(model)} />
    <span class="lib-row-facts">
      ${model.problem && html`<span class="lib-row-problem" title=${model.problem}><${Icon} name="warn" /></span>`}
      <span class="lib-row-kind">${kind}</span><span class="lib-row-size"> · ${bytes(model.size_bytes)}</span>
    </span>
  </span>`
}

/** The models found. @param {{onOpen: (model: ModelRow) => void, openId: string | null, id?: string}} props */
export function ModelList({ onOpen, openId, id = 'lib' }) {
  const panel = usePanel()
  const { search } = panel
  const { t } = useI18n()
  const state = useStore(search)
  const scroller = useRef(/** @type {HTMLElement | null} */ (null))

  const rows = state.atHand ?? state.rows
  const count = state.atHand ? state.atHand.length : state.total
  const virtualizer = useVirtualRows(scroller, count, search.position.scrollTop)
  const items = virtualizer.getVirtualItems()
  const first = items[0]?.index ?? 0
  const last = items[items.length - 1]?.index ?? 0

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
    const at = state.activeId ? rows.findIndex((row) => row?.model_id === state.activeId) : -1
    if (at >= 0) virtualizer.scrollToIndex(at, { align: 'auto' })
  }, [state.activeId])

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const at = rows.findIndex((row) => row?.model_id === state.activeId)
    const model = rows[at]
    if (model && (event.key === ' ' || event.key === 'ArrowRight')) {
      onOpen(model)
      event.preventDefault()
      event.stopPropagation()
    }
  }

  return html`<div
    class="lib-list"
    ref=${scroller}
    id=${`${id}-list`}
    role="listbox"
    tabindex="0"
    aria-label=${t('search.results')}
    aria-busy=${state.loading ? 'true' : 'false'}
    aria-activedescendant=${state.activeId ? optionId(id, state.activeId) : undefined}
    onKeyDown=${onKeyDown}
    onScroll=${() => (search.position.scrollTop = scroller.current?.scrollTop ?? 0)}
  >
    <div class="lib-list-space" role="presentation" style=${{ height: `${virtualizer.getTotalSize()}px` }}>
      ${items.map((item) => {
        const model = rows[item.index]
        const place = { transform: `translateY(${item.start}px)` }
        if (!model) {
          return html`<div class="lib-slot" role="presentation" key=${`hole-${item.index}`} style=${place}>
            <${SkeletonRow} at=${item.index} />
          </div>`
        }
        const active = model.model_id === state.activeId
        return html`<div
          class=${`lib-slot lib-row ${active ? 'is-active' : ''} ${model.model_id === openId ? 'is-open' : ''}`}
          key=${model.model_id}
          id=${optionId(id, model.model_id)}
          role="option"
          aria-selected=${active ? 'true' : 'false'}
          aria-setsize=${count}
          aria-posinset=${item.index + 1}
          style=${place}
          onPointerDown=${(/** @type {PointerEvent} */ event) => dragToGraph(panel, model, event)}
          onClick=${() => {
            search.setActive(model.model_id)
            onOpen(model)
          }}
        >
          <${Tile} model=${model} />
          <${RowText} model=${model} />
          <span class="lib-row-marks">
            <span class="lib-row-marks-line">
              ${model.linked &&
              html`<span class="lib-mark" role="img" aria-label=${t('model.linked')} title=${t('model.linked')}>
                <${Icon} name="link" />
              </span>`}
              ${isMatched(model) && html`<${TrustBadge} model=${model} iconOnly />`}
            </span>
            <${TierBadge} tier=${model.security_tier} pickle=${model.pickle_state} />
          </span>
          ${canAdd(panel, model) &&
          html`<button
            type="button"
            class="lib-row-add"
            tabindex="-1"
            aria-hidden="true"
            title=${t('graph.add')}
            onClick=${(/** @type {Event} */ event) => {
              event.stopPropagation()
              addToGraph(panel, model)
            }}
          >
            <${Icon} name="plus" />
          </button>`}
        </div>`
      })}
    </div>
  </div>`
}
