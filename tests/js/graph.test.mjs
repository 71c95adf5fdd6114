import { expect, test } from 'vitest'
import { createComfyGraph } from '../../web/app/host/graph.mjs'
import { dropFileNames, saveFileNames } from '../../web/app/nodes/file-names.mjs'
import { learnNode } from '../../web/app/nodes/loaders.mjs'

const LORA = {
  name: 'LibrarianLoadLora',
  input: { required: { model_id: ['STRING', { librarian: { subtypes: ['loras'], core: ['LoraLoader', 'lora_name'] } }], strength_model: ['FLOAT', {}] } }
}
learnNode(structuredClone(LORA))

/** @param {any[]} nodes */
const graphOf = (...nodes) => createComfyGraph({ rootGraph: { _nodes: nodes } })

test('rows of rgthree’s loader and embeddings in prompts get their other names, and nothing else does', () => {
  const row = { name: 'lora_1', value: { on: true, lora: 'a.safetensors', strength: 0.5 } }
  const text = { name: 'text', value: 'embedding:ugly, (embedding:ugly:1.2) embedding:uglyhands, ugly, embedding:a\\(v2\\)' }
  const left = graphOf({ type: 'Power Lora Loader (rgthree)', widgets: [row] }, { type: 'CLIPTextEncode', widgets: [text] }).replace([
    { ours: false, folder: 'loras', name: 'a.safetensors', value: 'b/a.safetensors' },
    { ours: false, folder: 'embeddings', name: 'ugly', value: 'neg\\UGLY (1).pt' },
    { ours: false, folder: 'embeddings', name: 'a(v2)', value: 'A(v2).pt' },
    { ours: false, folder: 'checkpoints', name: 'a.safetensors', value: 'c.safetensors' }
  ])
  expect(left.map(({ folder }) => folder)).toEqual(['checkpoints'])
  expect(row.value).toEqual({ on: true, lora: 'b/a.safetensors', strength: 0.5 })
  expect(text.value).toBe('embedding:neg/UGLY \\(1\\).pt, (embedding:neg/UGLY \\(1\\).pt:1.2) embedding:uglyhands, ugly, embedding:A\\(v2\\).pt')
})

test('only nodes that run and choose by themselves need their models', () => {
  const ours = (/** @type {string} */ value, /** @type {any} */ more = {}) => ({ type: LORA.name, mode: 0, widgets: [{ name: 'model_id', value }], ...more })
  const inputs = [{ name: 'model_id', widget: { name: 'model_id' }, link: 3 }]
  const from = (/** @type {number} */ origin) => ({ inputs, graph: { getLink: () => ({ origin_id: origin }) } })
  const inner = { _nodes: [ours('in/side', from(-10))] }
  const wired = ours('wi/red', from(7))
  const nodes = [ours('a/b'), ours('mu/ted', { mode: 2 }), ours('by/passed', { mode: 4 }), wired]
  const values = (/** @type {any[]} */ ...all) => graphOf(...all).ours().map(({ value }) => value)
  expect(values(...nodes, { type: 'subgraph', mode: 4, subgraph: inner })).toEqual(['a/b'])
  expect(values({ type: 'subgraph', mode: 0, subgraph: inner }, { type: 'subgraph', mode: 0, subgraph: inner })).toEqual(['in/side'])
})

test('the node of a subgraph that has a model outside says it for the one inside', () => {
  const widget = { name: 'model_id', type: 'librarian_model', value: 'a/b' }
  const graph = graphOf({ type: '9f-uuid', mode: 0, widgets: [widget] })
  expect(graph.ours()).toEqual([{ value: 'a/b', subtypes: [], stated: null }])
  expect(graph.replace([{ ours: true, folder: 'loras', name: 'a/b', value: 'c/d' }])).toEqual([])
  expect(widget.value).toBe('c/d')
})

test('a saved node says its file’s name behind its values, for those without Librarian, and is opened without it', () => {
  class Node {}
  saveFileNames(Node, LORA.name)
  const inputs = [{ name: 'model_id', widget: { name: 'model_id' }, link: 3 }]
  const wired = { inputs, graph: { getLink: () => ({ origin_id: 7 }) } }
  const model = { name: 'a.safetensors', url: 'https://x.example/a', directory: 'loras' }
  const properties = { librarian: { model_id: { model_id: 'lo/ra', name: model.name } }, models: [model] }
  const saved = (/** @type {any} */ more = {}, /** @type {any} */ live = {}) => {
    const node = { type: LORA.name, widgets_values: ['lo/ra', 1, 1], properties, ...more }
    Object.assign(new Node(), live).onSerialize(node)
    return node
  }
  expect(saved().widgets_values).toEqual(['lo/ra', 1, 1, 'a.safetensors'])
  expect(saved({}, wired).widgets_values).toEqual(['lo/ra', 1, 1])
  expect(saved({ properties: {} }).widgets_values).toEqual(['lo/ra', 1, 1])
  expect(saved({ widgets_values: ['a.safetensors', 1, 1] }).widgets_values).toEqual(['a.safetensors', 1, 1])

  const workflow = { nodes: [saved()], definitions: { subgraphs: [{ nodes: [saved(), { type: 'Note', properties, widgets_values: ['x', 'a.safetensors'] }] }] } }
  dropFileNames(workflow)
  expect(workflow.nodes[0].widgets_values).toEqual(['lo/ra', 1, 1])
  expect(workflow.definitions.subgraphs[0]?.nodes.map((node) => node.widgets_values)).toEqual([['lo/ra', 1, 1], ['x', 'a.safetensors']])
})
