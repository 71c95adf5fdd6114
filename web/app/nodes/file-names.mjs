import { inputsOf, isGiven } from './loaders.mjs'

/**
 * ComfyUI's own offer of missing models, which is all that someone without Librarian has. Frontends up to 1.45 take a
 * model of `properties.models` only if one of the node's values is its file's name, and ours are ids. So a saved node has
 * the names behind its values, where nothing else reads them. (docs/decisions/0009)
 */

/** Those of the models that a node uses and of which it says where they can be had.
 * @param {any} node @param {any} saved @returns {string[]} */
function namesIn(node, { properties = {}, widgets_values: values }) {
  const offered = [properties.models ?? []].flat().map((/** @type {any} */ model) => model?.name)
  const used = Object.entries(properties.librarian ?? {}).filter(([input, own]) => own?.name && !isGiven(node, input))
  return used.map(([, own]) => own.name).filter((name) => offered.includes(name) && !values.includes(name))
}

/** In nodes of ours. @param {any} type the node's class @param {string} nodeId */
export function saveFileNames(type, nodeId) {
  if (!inputsOf(nodeId)) return
  const before = type.prototype.onSerialize
  type.prototype.onSerialize = function (/** @type {any} */ saved) {
    before?.call(this, saved)
    if (Array.isArray(saved.widgets_values)) saved.widgets_values.push(...namesIn(this, saved))
  }
}

/** Here Librarian itself says what is missing: ComfyUI does not know what lies in the library without a link.
 * @param {any} workflow that is about to be opened; is changed */
export function dropFileNames(workflow) {
  for (const { nodes } of [workflow, ...(workflow?.definitions?.subgraphs ?? [])]) {
    for (const node of Array.isArray(nodes) ? nodes : []) {
      const inputs = inputsOf(node.type)
      const values = node.widgets_values
      if (!inputs || !Array.isArray(values)) continue
      const names = [node.properties?.models ?? []].flat().map((/** @type {any} */ model) => model?.name)
      // What the inputs say comes first, and may be a file's name as well.
      node.widgets_values = values.filter((value, at) => at < inputs.size || !names.includes(value))
    }
  }
}
