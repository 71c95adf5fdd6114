import { modelPath } from '../api.mjs'
import { loaderFor } from '../nodes/loaders.mjs'
import { namedModel } from '../stores/names.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { GraphNode, ModelInput, ModelRow } from '../types.mjs' */

/** How far a pointer moves before it drags, in pixels. */
const SLACK = 6

/** @param {LibrarianPanel} panel @param {ModelRow | null} model */
export const canAdd = (panel, model) => Boolean(panel.host.graph && model && loaderFor(model.subtype))

/** Put a loader for the model into the workflow, and say if that failed.
 * @param {LibrarianPanel} panel @param {ModelRow} model @param {{x: number, y: number}} [at] a point of the page */
export async function addToGraph(panel, model, at) {
  const { t } = panel.words.get().i18n
  const loader = loaderFor(model.subtype)
  const { graph } = panel.host
  if (!loader || !graph) return
  const [input] = loader.inputs.keys()
  // What the node writes down of the model belongs to the same step.
  await panel.names.ask(model.model_id, [])
  if (!graph.add(loader.nodeId, { [/** @type {string} */ (input)]: model.model_id }, at)) {
    panel.toast('error', t('graph.failed'), t('graph.noNode', { node: loader.nodeId }))
  }
}

/** The input of a node that takes this model, if one may. @param {GraphNode} node @param {ModelRow} model
 * @param {{x: number, y: number}} at @returns {ModelInput | undefined} */
function inputFor(node, model, at) {
  const fitting = node.inputs.filter(({ subtypes }) => !subtypes || subtypes.includes(model.subtype ?? ''))
  const under = document.elementFromPoint(at.x, at.y)
  return (
    fitting.find(({ element, name }) => element?.contains(under) || name === node.inputAt) ??
    fitting.find(({ value }) => !value) ??
    fitting[0]
  )
}

/** The model into the node that it was dropped on. @param {LibrarianPanel} panel @param {ModelRow} model
 * @param {GraphNode} node @param {{x: number, y: number}} at */
async function dropOnNode(panel, model, node, at) {
  const { t, told } = panel.words.get().i18n
  const name = model.official_name || model.file_name || model.model_id
  const input = inputFor(node, model, at)
  if (!input) {
    panel.toast('warn', t('graph.noFit', { name, node: node.title }), t('graph.noFitText'))
    return
  }
  if (input.ours) {
    await panel.names.ask(model.model_id, input.subtypes ?? [])
    input.set(model.model_id)
    return
  }
  try {
    const { file, sha256 } = namedModel(await panel.api.get(modelPath(model.model_id)))
    const folder = model.subtype ?? ''
    const { results } = await panel.api.post('/resolve', { references: [{ folder, name: file, ...(sha256 ? { sha256 } : {}) }] })
    const value = results[0]?.model_id === model.model_id ? results[0].value : null
    if (!value) {
      panel.toast('warn', t('graph.notLinked', { name }), t('graph.notLinkedText'))
      return
    }
    if (!input.options().includes(value)) await panel.host.refreshNodes()
    if (input.options().includes(value)) input.set(value)
    else panel.toast('warn', t('graph.noFit', { name, node: node.title }), t('graph.noFitText'))
  } catch (error) {
    panel.toast('error', t('graph.failed'), told(/** @type {Error} */ (error)))
  }
}

/**
 * Begin a drag from a row to the graph, as soon as the pointer moves. Esc ends it.
 * @param {LibrarianPanel} panel @param {ModelRow} model @param {PointerEvent} start
 */
export function dragToGraph(panel, model, start) {
  if (start.button !== 0 || start.pointerType === 'touch' || !canAdd(panel, model)) return
  const { graph } = panel.host
  const { t } = panel.words.get().i18n
  const loader = loaderFor(model.subtype)
  const name = model.official_name || model.file_name || model.model_id
  /** @type {{box: HTMLElement, said: HTMLElement, frame: HTMLElement} | null} */
  let ghost = null

  function raise() {
    const box = document.createElement('div')
    box.className = 'lib-ghost'
    box.setAttribute('role', 'status')
    const title = box.appendChild(document.createElement('strong'))
    title.textContent = name
    const said = box.appendChild(document.createElement('span'))
    const frame = document.createElement('div')
    frame.className = 'lib-ghost-frame'
    document.body.append(frame, box)
    return { box, said, frame }
  }

  /** @param {PointerEvent} event */
  function move(event) {
    if (!ghost) {
      if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < SLACK) return
      ghost = raise()
      document.getSelection()?.removeAllRanges()
    }
    event.preventDefault()
    const { box, said, frame } = ghost
    const place = graph?.at(event.clientX, event.clientY)
    const node = place?.node
    const input = node && inputFor(node, model, { x: event.clientX, y: event.clientY })
    const fit = !place ? 'none' : !node ? 'add' : input ? 'set' : 'not'
    box.dataset['fit'] = frame.dataset['fit'] = fit
    const words = { none: t('graph.drag'), add: t('graph.dragAdd', { node: loader?.title ?? '' }), set: t('graph.dragSet', { node: node?.title ?? '' }), not: t('graph.dragNot', { node: node?.title ?? '' }) }[fit]
    if (said.textContent !== words) said.textContent = words
    const left = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8)
    const top = Math.min(event.clientY + 14, window.innerHeight - box.offsetHeight - 8)
    box.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`
    frame.hidden = !node
    if (node) {
      frame.style.transform = `translate(${node.place.x - 3}px, ${node.place.y - 3}px)`
      frame.style.width = `${node.place.width + 6}px`
      frame.style.height = `${node.place.height + 6}px`
    }
  }

  /** @param {PointerEvent} event */
  function drop(event) {
    const dragged = ghost !== null
    end()
    if (!dragged) return
    // The click that follows would open the details.
    const swallow = (/** @type {Event} */ click) => click.stopPropagation()
    window.addEventListener('click', swallow, { capture: true, once: true })
    setTimeout(() => window.removeEventListener('click', swallow, true))
    const at = { x: event.clientX, y: event.clientY }
    const place = graph?.at(at.x, at.y)
    if (place?.node) void dropOnNode(panel, model, place.node, at)
    else if (place) void addToGraph(panel, model, at)
  }

  /** @param {KeyboardEvent} event */
  function key(event) {
    if (event.key !== 'Escape' || !ghost) return
    event.preventDefault()
    event.stopPropagation()
    end()
  }

  function end() {
    ghost?.box.remove()
    ghost?.frame.remove()
    ghost = null
    window.removeEventListener('pointermove', move, true)
    window.removeEventListener('pointerup', drop, true)
    window.removeEventListener('pointercancel', end, true)
    window.removeEventListener('blur', end)
    window.removeEventListener('keydown', key, true)
  }

  window.addEventListener('pointermove', move, true)
  window.addEventListener('pointerup', drop, true)
  window.addEventListener('pointercancel', end, true)
  window.addEventListener('blur', end)
  window.addEventListener('keydown', key, true)
}
