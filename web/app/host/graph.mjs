import { WIDGET_TYPE, coreSubtypes, inputsOf, isGiven } from '../nodes/loaders.mjs'

/** @import { GraphHost, GraphNode, ModelInput, Replacement } from '../types.mjs' */

/** What ends like a model's file. */
const MODEL_FILE = /\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$/i

/** @param {any} value */
const isModelFile = (value) => typeof value === 'string' && MODEL_FILE.test(value)

/** An embedding in a prompt, as ComfyUI reads it; a backslash stands before a parenthesis that is meant. */
const EMBEDDING = /(?<=^|[\s(])embedding:((?:\\[()]|[^\s,():])+)/g

/** Modes of nodes that do not run: muted and bypassed. */
const ASLEEP = [2, 4]

/** What a widget that does not choose from a list is to say instead; `null` where the model is not in it.
 * @param {any} value @param {Replacement} one */
function rewritten(value, { folder, name, value: other }) {
  // A row of rgthree's Power Lora Loader.
  if (folder === 'loras' && value?.lora === name) return { ...value, lora: other }
  if (folder !== 'embeddings' || typeof value !== 'string') return null
  const text = value.replace(EMBEDDING, (said, embedding) =>
    embedding.replace(/\\([()])/g, '$1') === name ? `embedding:${other.replaceAll('\\', '/').replace(/[()]/g, '\\$&')}` : said
  )
  return text === value ? null : text
}

/**
 * ComfyUI's graph, in all its frontends (1.27 to 1.58), in the classic canvas and with Vue nodes.
 * @param {any} app
 * @returns {GraphHost}
 */
export function createComfyGraph(app) {
  const canvas = () => app.canvas
  const root = () => app.rootGraph ?? app.graph
  // Inside a subgraph the canvas shows another graph than the workflow's root.
  const shown = () => canvas()?.graph ?? root()

  // Chromium would take back what was typed last, such as in our search field, and move the focus there, while
  // ComfyUI undoes the graph's last step.
  window.addEventListener('keydown', (event) => {
    const typing = /** @type {HTMLElement | null} */ (document.activeElement)?.closest('input, textarea, [contenteditable]')
    if ((event.ctrlKey || event.metaKey) && /^[zy]$/i.test(event.key) && !typing) event.preventDefault()
  })

  /** One step that ComfyUI can undo. @template T @param {() => T} work @returns {T} */
  function change(work) {
    try {
      return work()
    } finally {
      shown().setDirtyCanvas?.(true, true)
      const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker
      if (tracker?.captureCanvasState) tracker.captureCanvasState()
      else tracker?.checkState?.()
    }
  }

  /** As if a person had set it. @param {any} node @param {any} widget @param {any} value */
  function setWidget(node, widget, value) {
    const before = widget.value
    if (typeof widget.choose === 'function') widget.choose(value)
    else {
      widget.value = value
      widget.callback?.(value, canvas(), node, node.pos)
    }
    node.onWidgetChanged?.(widget.name, value, before, widget)
  }

  /** @param {any} node @param {any} widget @returns {string[]} */
  function optionsOf(node, widget) {
    const values = widget.options?.values
    const found = typeof values === 'function' ? values(widget, node) : values
    return Array.isArray(found) ? found.map(String) : []
  }

  /** @param {any} node @returns {ModelInput[]} */
  function inputsFor(node) {
    const ours = inputsOf(node.type)
    return (node.widgets ?? []).flatMap((/** @type {any} */ widget) => {
      const fits = ours?.get(widget.name) ?? coreSubtypes(node.type, widget.name) ?? null
      const isOurs = Boolean(ours?.has(widget.name))
      if (!isOurs && !(widget.type === 'combo' && (fits || optionsOf(node, widget).some(isModelFile)))) return []
      return [
        /** @type {ModelInput} */ ({
          name: widget.name,
          ours: isOurs,
          subtypes: fits,
          value: String(widget.value ?? ''),
          element: widget.element ?? null,
          options: () => optionsOf(node, widget),
          set: (value) => change(() => setWidget(node, widget, value))
        })
      ]
    })
  }

  /** @param {number} x @param {number} y in the page, pixels @returns {[number, number]} in the graph */
  function toGraph(x, y) {
    const box = canvas().canvas.getBoundingClientRect()
    const { scale, offset } = canvas().ds
    return [(x - box.left) / scale - offset[0], (y - box.top) / scale - offset[1]]
  }

  /** Where a node is in the page, pixels. @param {any} node */
  function placeOf(node) {
    const box = canvas().canvas.getBoundingClientRect()
    const { scale, offset } = canvas().ds
    const [left, top, width, height] = node.getBounding?.() ?? node.boundingRect ?? [...node.pos, ...node.size]
    return new DOMRect(box.left + (left + offset[0]) * scale, box.top + (top + offset[1]) * scale, width * scale, height * scale)
  }

  /** @param {any} node @param {number} x @param {number} y in the graph @returns {GraphNode} */
  function seen(node, x, y) {
    return {
      title: node.getTitle?.() || node.title || node.type,
      place: placeOf(node),
      inputs: inputsFor(node),
      inputAt: node.getWidgetOnPos?.(x, y)?.name ?? null
    }
  }

  /** The nodes that run, in subgraphs too, each definition once. @returns {any[]} */
  function awakeNodes(graph = root(), seen = new Set()) {
    if (!graph || seen.has(graph)) return []
    seen.add(graph)
    const awake = (graph._nodes ?? graph.nodes ?? []).filter((/** @type {any} */ node) => !ASLEEP.includes(node.mode))
    return awake.flatMap((/** @type {any} */ node) => [node, ...(node.subgraph ? awakeNodes(node.subgraph, seen) : [])])
  }

  /** Every node with its graph, in subgraphs too, each definition once. @returns {any[]} */
  function allNodes() {
    const root_ = root()
    return [root_, ...(root_?.subgraphs?.values?.() ?? [])].flatMap((graph) => graph?._nodes ?? graph?.nodes ?? [])
  }

  /** @param {any} node @param {any} widget @param {Replacement} one */
  function isMeant(node, widget, one) {
    const ours = widget.type === WIDGET_TYPE || (inputsOf(node.type)?.has(widget.name) ?? false)
    if (ours !== one.ours || widget.value !== one.name) return false
    if (ours) return true
    const fits = coreSubtypes(node.type, widget.name)
    return !fits || !one.folder || fits.includes(one.folder)
  }

  return {
    add(nodeId, widgets, at) {
      const node = /** @type {any} */ (globalThis).LiteGraph?.createNode?.(nodeId)
      if (!node) return false
      return change(() => {
        const graph = shown()
        if (at) {
          // The title bar lies above a node's position; the pointer holds it there.
          const [x, y] = toGraph(at.x, at.y)
          node.pos = [x - node.size[0] / 2, y + 12]
        } else {
          const area = canvas()?.ds?.visible_area ?? canvas()?.visible_area
          if (area) {
            const [x, y, width, height] = area
            // A little aside for each, so that two new nodes do not cover each other.
            const aside = ((graph._nodes?.length ?? 0) % 6) * 24
            node.pos = [x + width / 2 - node.size[0] / 2 + aside, y + height / 2 - node.size[1] / 2 + aside]
          }
        }
        graph.add(node)
        for (const [name, value] of Object.entries(widgets)) {
          const widget = node.widgets?.find((/** @type {any} */ other) => other.name === name)
          if (widget) setWidget(node, widget, value)
        }
        canvas()?.selectNode?.(node)
        return true
      })
    },

    at(x, y) {
      const surface = canvas()?.canvas
      const top = document.elementFromPoint(x, y)
      // Vue nodes and the widgets made of elements lie over the canvas.
      const over = top && (top === surface || top.closest('[data-node-id], .lg-node, .dom-widget, [data-testid="dom-widget"]'))
      if (!surface || !over) return null
      const [graphX, graphY] = toGraph(x, y)
      const id = top?.closest('[data-node-id]')?.getAttribute('data-node-id')
      const graph = shown()
      const node = (id && graph.getNodeById?.(id)) || graph.getNodeOnPos?.(graphX, graphY) || null
      return { node: node ? seen(node, graphX, graphY) : null }
    },

    serialize: () => root()?.serialize?.() ?? null,

    ours: () =>
      awakeNodes().flatMap((node) => {
        const ours = new Map(inputsOf(node.type))
        for (const { name, type } of node.widgets ?? []) if (type === WIDGET_TYPE && !ours.has(name)) ours.set(name, [])
        return [...ours].flatMap(([name, subtypes]) => {
          const value = node.widgets?.find((/** @type {any} */ widget) => widget.name === name)?.value
          if (!value || isGiven(node, name)) return []
          const own = node.properties?.librarian?.[name]
          // A workflow that was written by hand says the file's name, and the rest as ComfyUI's own nodes do.
          const stated = own?.model_id === value ? own : { name: value }
          const model = [node.properties?.models ?? []].flat().find((one) => one?.name === stated.name)
          const { url, directory, hash } = model ?? {}
          return [{ value: String(value), subtypes, stated: stated === own || model ? { url, directory, sha256: hash, ...stated } : null }]
        })
      }),

    set(node, name, value) {
      const widget = node.widgets?.find((/** @type {any} */ other) => other.name === name)
      if (widget) change(() => setWidget(node, widget, value))
    },

    replace: (replacements) =>
      change(() => {
        /** @type {Set<Replacement>} */
        const done = new Set()
        for (const node of allNodes()) {
          for (const widget of node.widgets ?? []) {
            for (const other of replacements) {
              const value = other.ours ? null : rewritten(widget.value, other)
              if (value === null) continue
              setWidget(node, widget, value)
              done.add(other)
            }
            const one = replacements.find((other) => isMeant(node, widget, other))
            // ComfyUI would refuse what is not in its list.
            if (!one || (!one.ours && !optionsOf(node, widget).includes(one.value))) continue
            setWidget(node, widget, one.value)
            done.add(one)
          }
        }
        return replacements.filter((one) => !done.has(one))
      })
  }
}
