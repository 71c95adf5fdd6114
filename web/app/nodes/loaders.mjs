/**
 * Which nodes load which models, as the server's node definitions say it (the option `librarian` of each
 * input that is a model).
 */

/** What an input of ours is drawn as; to the graph it stays a text. */
export const WIDGET = 'LIBRARIAN_MODEL'

/** What the widget of such an input is to the graph, in our nodes and in those of subgraphs that have it outside. */
export const WIDGET_TYPE = 'librarian_model'

/**
 * @typedef {object} Loader One of our nodes.
 * @property {string} nodeId
 * @property {string} title
 * @property {Map<string, string[]>} inputs the subtypes that fit each input that is a model
 */

/** @type {Map<string, Loader>} */
const loaders = new Map()
/** The subtypes that fit the inputs of ComfyUI's own loaders, by node and input. @type {Map<string, Map<string, string[]>>} */
const core = new Map()

/**
 * Take in a node's definition. In one of ours each model becomes a widget of its own; to the server it stays a
 * text.
 * @param {any} definition as `/object_info` has it; is changed
 */
export function learnNode(definition) {
  if (!definition.name?.startsWith('Librarian')) return
  /** @type {Loader} */
  const loader = { nodeId: definition.name, title: definition.display_name ?? definition.name, inputs: new Map() }
  for (const group of [definition.input?.required, definition.input?.optional]) {
    for (const [name, spec] of Object.entries(group ?? {})) {
      const options = /** @type {any} */ (spec)?.[1]
      const told = options?.librarian
      if (!Array.isArray(told?.subtypes)) continue
      loader.inputs.set(name, told.subtypes)
      options.widgetType = WIDGET
      if (!Array.isArray(told.core)) continue
      const [node, input] = told.core
      core.set(node, (core.get(node) ?? new Map()).set(input, told.subtypes))
    }
  }
  if (loader.inputs.size > 0) loaders.set(loader.nodeId, loader)
}

/** The node that loads one model of this kind; the simplest comes first. @param {string | undefined} subtype */
export const loaderFor = (subtype) =>
  [...loaders.values()].find(({ inputs }) => {
    const [fits, ...others] = inputs.values()
    return others.length === 0 && fits?.includes(subtype ?? '')
  })

/** The models that fit each input of a node of ours; nothing for other nodes. @param {string} nodeId */
export const inputsOf = (nodeId) => loaders.get(nodeId)?.inputs

/** The subtypes that fit an input of one of ComfyUI's own loaders; nothing where that is not known.
 * @param {string} nodeId @param {string} input */
export const coreSubtypes = (nodeId, input) => core.get(nodeId)?.get(input)

/** Links that come into a subgraph begin here: what its node says there, the inner node says too. */
const SUBGRAPH_INPUT = -10

/** Whether another node gives what an input says. @param {any} node @param {string} input */
export function isGiven(node, input) {
  const { link } = node.inputs?.find((/** @type {any} */ slot) => slot.widget?.name === input) ?? {}
  const origin = typeof link === 'number' ? node.graph?.getLink?.(link)?.origin_id : undefined
  return origin !== undefined && Number(origin) !== SUBGRAPH_INPUT
}
