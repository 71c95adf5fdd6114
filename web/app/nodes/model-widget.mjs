import { loadStyles } from '../styles.mjs'
import { splitMiddle } from '../text.mjs'
import { WIDGET_TYPE, inputsOf } from './loaders.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { NamedModel } from '../types.mjs' */

export { dropFileNames, saveFileNames } from './file-names.mjs'
export { WIDGET, learnNode } from './loaders.mjs'

/** Height of the widget in the node, in pixels. */
const HEIGHT = 34
/** Where a node keeps what its models are called elsewhere, beside ComfyUI's own `models`. */
const OWN = 'librarian'

/** Once it is there. @type {LibrarianPanel | null} */
let panel = null

/** @param {string} id */
const lastOf = (id) => id.split('/').pop() ?? id

/**
 * The widget of an input that is a model: shows the model's name, and opens a search. Its value is the plain
 * id, so that a workflow is the same whether this is here or not.
 * @param {any} node
 * @param {string} name
 * @param {any[]} spec the input's, as `/object_info` has it
 * @param {() => Promise<{panel: LibrarianPanel}>} load
 */
export function modelWidget(node, name, spec, load) {
  const subtypes = /** @type {string[]} */ (spec[1]?.librarian?.subtypes ?? [])
  const inputs = [...(inputsOf(node.comfyClass ?? node.type)?.keys() ?? [name])]
  let value = String(spec[1]?.default ?? '')
  /** What a person chose, until it is written down. @type {string | null} */
  let chosen = null
  let asked = 0

  const element = document.createElement('div')
  element.className = 'lib-model-widget'
  const button = element.appendChild(document.createElement('button'))
  button.type = 'button'
  button.setAttribute('aria-haspopup', 'dialog')
  /** @param {string} part */
  const span = (part) => {
    const made = button.appendChild(document.createElement('span'))
    made.className = `lib-model-widget-${part}`
    return made
  }
  span('number').textContent = inputs.length > 1 ? String(inputs.indexOf(name) + 1) : ''
  const head = span('head')
  const tail = span('tail')
  span('mark').setAttribute('aria-hidden', 'true')

  const t = (/** @type {string} */ key, /** @type {Record<string, string>} */ values = {}) => panel?.words.get().i18n.t(key, values) ?? ''

  /** @param {'empty' | 'asking' | 'found' | 'missing' | 'unreachable'} state @param {string} shown @param {string} [explained] */
  function show(state, shown, explained = shown) {
    element.dataset['state'] = state
    // A name gives way in its middle, so that the version at its end stays in sight.
    const cut = splitMiddle(shown)
    head.textContent = cut.head
    tail.textContent = cut.tail
    button.title = explained
    button.setAttribute('aria-label', `${widget?.label ?? name}: ${explained}`)
  }

  async function draw() {
    const mine = ++asked
    show(value ? 'asking' : 'empty', value ? lastOf(value) : t('widget.choose') || '…')
    try {
      panel ??= (await load()).panel
      await Promise.all([panel.begin(), loadStyles(panel.host)])
    } catch {
      return
    }
    if (mine !== asked) return
    if (!value) {
      show('empty', t('widget.choose'))
      return
    }
    const known = panel.names.peek(value) ?? (await panel.names.ask(value, subtypes))
    if (mine !== asked) return
    if (known.state === 'found') {
      const { name: named, file } = known.model
      show('found', named, named === file ? named : `${named} (${file})`)
      if (chosen === value) writeDown(known.model)
    } else if (known.state === 'missing') {
      const stated = node.properties?.[OWN]?.[name]
      const shown = (stated?.model_id === value && stated.name) || lastOf(value)
      const nearest = known.nearest.map((model) => model.name).join(', ')
      show('missing', shown, nearest ? t('widget.missingNear', { value: shown, nearest }) : t('widget.missing', { value: shown }))
    } else show('unreachable', lastOf(value), `${lastOf(value)}: ${t('error.unreachable')}`)
  }

  /** What others need to get the same model. @param {NamedModel | null} model null for none */
  function writeDown(model) {
    chosen = null
    node.properties ??= {}
    const { [name]: old, ...others } = node.properties[OWN] ?? {}
    const hash = model?.sha256
    const stated = model && { model_id: value, name: model.file, directory: model.subtype, ...(hash ? { sha256: hash } : {}) }
    keep(OWN, stated ? { ...others, [name]: stated } : others)

    const named = Object.values(others).map((one) => one.name)
    const models = [node.properties['models'] ?? []]
      .flat()
      .filter((one) => named.includes(one?.name) || (inputs.length > 1 && one?.name !== old?.name && one?.name !== model?.file))
    // ComfyUI takes no model without an address.
    if (model?.url && !models.some((one) => one.name === model.file)) {
      models.push({ name: model.file, url: model.url, directory: model.subtype, ...(hash ? { hash, hash_type: 'SHA256' } : {}) })
    }
    keep('models', models)
  }

  /** @param {string} key @param {any} what nothing is kept of what is empty */
  function keep(key, what) {
    if (Object.keys(what).length > 0) node.properties[key] = what
    else delete node.properties[key]
  }

  const widget = node.addDOMWidget(name, WIDGET_TYPE, element, {
    getValue: () => value,
    setValue: (/** @type {unknown} */ given) => {
      const next = String(given ?? '')
      if (next === value) return
      value = next
      void draw()
    },
    getMinHeight: () => HEIGHT,
    getMaxHeight: () => HEIGHT,
    getHeight: () => HEIGHT,
    margin: 4,
    hideOnZoom: false
  })

  /** Another model, by a person or for one, with what the workflow says of it. @param {string} modelId empty for none */
  widget.choose = (modelId) => {
    const known = panel?.names.peek(modelId)
    widget.value = modelId
    if (!modelId) writeDown(null)
    else if (known?.state === 'found') writeDown(known.model)
    else {
      chosen = modelId
      void draw()
    }
  }

  const loadPicker = () => Promise.all([load(), import('./picker.mjs')])
  // What is typed right after the click is meant for the search, not for the graph.
  for (const event of ['pointerenter', 'focus']) button.addEventListener(event, () => void loadPicker().catch(() => {}), { once: true })
  button.addEventListener('click', async () => {
    try {
      const [loaded, { openPicker }] = await loadPicker()
      panel = loaded.panel
      await openPicker(panel, {
        anchor: button,
        label: button.getAttribute('aria-label') ?? name,
        subtypes,
        value,
        choose: async (modelId) => {
          if (modelId) await loaded.panel.names.ask(modelId, subtypes)
          loaded.panel.host.graph?.set(node, name, modelId)
        }
      })
    } catch (error) {
      console.error('Model Librarian:', error)
    }
  })
  // With these keys the button is meant, not the graph.
  button.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') event.stopPropagation()
  })

  // Vue nodes hand it on themselves; in the classic canvas the wheel would do nothing here.
  element.addEventListener('wheel', (event) => {
    if (!element.closest('[data-node-id]')) node.graph?.list_of_graphcanvas?.[0]?.processMouseWheel(event)
  })

  /** @type {(() => void) | null} */
  let unsubscribe = null
  load().then(
    (loaded) => (unsubscribe = loaded.panel.names.subscribe(() => void draw())),
    () => {}
  )
  const onRemoved = node.onRemoved
  node.onRemoved = function (/** @type {any[]} */ ...rest) {
    unsubscribe?.()
    return onRemoved?.apply(this, rest)
  }
  void draw()
  return { widget, minWidth: 260, minHeight: HEIGHT }
}
