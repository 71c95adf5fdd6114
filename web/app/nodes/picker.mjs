import { html, render, useEffect, useLayoutEffect, useRef } from '../../vendor/htm-preact.mjs'
import { createSearch } from '../stores/search.mjs'
import { PanelContext, useI18n, usePanel, useStore } from '../ui/context.mjs'
import { ModelList } from '../ui/model-list.mjs'
import { SearchField } from '../ui/models-place.mjs'
import { Button, ErrorBox, SkeletonRows } from '../ui/parts.mjs'
import { loadStyles } from '../styles.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { ModelRow } from '../types.mjs' */

/** Pixels. */
const WIDTH = 340
const HEIGHT = 400
const MARGIN = 8

/**
 * @typedef {object} Question
 * @property {HTMLElement} anchor
 * @property {string} label
 * @property {string[]} subtypes what fits
 * @property {string} value the model that is chosen now
 * @property {(modelId: string) => void} choose empty for none
 */

/** @type {(() => void) | null} */
let closeOpen = null

/** A short search beside a widget; one at a time. @param {LibrarianPanel} panel @param {Question} question */
export async function openPicker(panel, question) {
  closeOpen?.()
  await Promise.all([loadStyles(panel.host), panel.begin()])
  const box = document.createElement('div')
  box.className = 'lib lib-picker'
  box.dataset['host'] = panel.host.kind
  document.body.append(box)

  const search = createSearch(panel.api)
  for (const subtype of question.subtypes) search.toggleFilter('subtype', subtype)
  if (question.subtypes.length === 0) void search.load()
  // The same list as in the panel, over a search of its own; nothing in it goes to the graph.
  const inner = { ...panel, search, host: { ...panel.host, graph: null } }

  const close = () => {
    if (closeOpen !== close) return
    closeOpen = null
    render(/** @type {any} */ (null), box)
    box.remove()
    document.removeEventListener('pointerdown', outside, true)
    window.removeEventListener('wheel', outside, true)
    if (question.anchor.isConnected) question.anchor.focus({ preventScroll: true })
  }
  /** @param {Event} event */
  const outside = (event) => {
    if (!box.contains(/** @type {Node} */ (event.target))) close()
  }
  closeOpen = close
  document.addEventListener('pointerdown', outside, true)
  window.addEventListener('wheel', outside, true)

  const from = question.anchor.getBoundingClientRect()
  const below = window.innerHeight - from.bottom - MARGIN
  const above = from.top - MARGIN
  const down = below >= Math.min(HEIGHT, 260) || below >= above
  const height = Math.min(HEIGHT, Math.max(180, down ? below : above))
  box.style.width = `${Math.min(WIDTH, window.innerWidth - 2 * MARGIN)}px`
  box.style.height = `${height}px`
  box.style.left = `${Math.max(MARGIN, Math.min(from.left, window.innerWidth - WIDTH - MARGIN))}px`
  box.style.top = `${down ? from.bottom + 4 : Math.max(MARGIN, from.top - height - 4)}px`

  render(html`<${PanelContext.Provider} value=${inner}><${Picker} question=${question} close=${close} outer=${panel} /><//>`, box)
}

/** @param {{question: Question, close: () => void, outer: LibrarianPanel}} props */
function Picker({ question, close, outer }) {
  const { search } = usePanel()
  const { t } = useI18n()
  const state = useStore(search)
  const root = useRef(/** @type {HTMLElement | null} */ (null))

  useLayoutEffect(() => {
    /** @type {HTMLElement | null | undefined} */
    const field = root.current?.querySelector('input')
    field?.focus({ preventScroll: true })
  }, [])
  useEffect(() => {
    if (state.loaded && !state.activeId && !state.text && question.value) search.setActive(question.value)
  }, [state.loaded])

  /** @param {ModelRow} model */
  const take = (model) => {
    close()
    question.choose(model.model_id)
  }
  const count = state.atHand ? state.atHand.length : state.total
  return html`<section
    class="lib-picker-box"
    role="dialog"
    aria-label=${question.label}
    ref=${root}
    onKeyDownCapture=${(/** @type {KeyboardEvent} */ event) => {
      // The field would first let go of the row that is marked.
      if (event.key !== 'Escape' || search.get().text) return
      event.preventDefault()
      event.stopPropagation()
      close()
    }}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      // ComfyUI's own keys are not meant while this is open.
      event.stopPropagation()
      if (event.key === 'Escape') {
        event.preventDefault()
        close()
      }
    }}
  >
    <div class="lib-finder"><${SearchField} id="lib-picker" onOpen=${take} /></div>
    <div class="lib-results">
      ${state.error
        ? html`<${ErrorBox} what=${t('search.failed')} error=${state.error} onRetry=${() => search.load()} />`
        : count > 0
          ? html`<${ModelList} id="lib-picker" onOpen=${take} openId=${question.value} />`
          : state.loading || !state.loaded
            ? html`<${SkeletonRows} count=${4} />`
            : html`<p class="lib-note lib-picker-none">${t('empty.noHit')}</p>`}
    </div>
    <footer class="lib-picker-foot">
      <${Button} kind="quiet" icon="close" disabled=${!question.value}
        onClick=${() => {
          close()
          question.choose('')
        }}
      >${t('widget.clear')}<//>
      <${Button} kind="quiet" icon="library"
        onClick=${() => {
          close()
          outer.reveal(question.value, question.subtypes)
        }}
      >${t('widget.show')}<//>
    </footer>
  </section>`
}
