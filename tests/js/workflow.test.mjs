import { expect, test } from 'vitest'
import { createWorkflow } from '../../web/app/stores/workflow.mjs'

test('a model of one of our own nodes is counted once, as the node says it', async () => {
  const node = { folder: 'loras', name: 'pixel.safetensors', state: 'unknown', candidates: [] }
  const core = { folder: 'vae', name: 'ae.safetensors', state: 'unknown', candidates: [] }
  const api = /** @type {any} */ ({
    post: async (/** @type {string} */ _path, /** @type {any} */ body) => ({ results: body.workflow ? [{ ...node, identity: 'a/b/pixel' }, core] : [node] })
  })
  const graph = { serialize: () => ({ nodes: [{}] }), ours: () => [{ value: 'a/b/pixel', subtypes: ['loras'], stated: null }] }
  const names = /** @type {any} */ ({ ask: async () => ({ state: 'missing', nearest: [] }) })
  const quiet = /** @type {any} */ ({ subscribe: () => () => {} })
  const workflow = createWorkflow(api, /** @type {any} */ ({ graph }), { names, jobs: quiet, downloads: quiet })
  await workflow.look()
  const { total, missing } = workflow.get()
  expect(total).toBe(2)
  expect(missing.map(({ ours, was }) => [ours, was])).toEqual([[false, 'ae.safetensors'], [true, 'a/b/pixel']])
})

test('what was downloaded reaches its node although a job that ends looks again meanwhile', async () => {
  const file = { folder: 'loras', name: 'portraits/pixel.safetensors', url: 'https://huggingface.co/a/b/resolve/main/pixel.safetensors', candidates: [] }
  const came = { ...file, state: 'elsewhere', model_id: 'a/b/pixel', value: 'pixel.safetensors' }
  /** Looks that wait for their answer. @type {((results: any[]) => void)[]} */
  const asked = []
  const api = /** @type {any} */ ({ post: () => new Promise((answer) => asked.push((results) => answer({ results }))) })
  const replaced = /** @type {any[]} */ ([])
  const graph = {
    serialize: () => ({ nodes: [{}] }),
    ours: () => [],
    replace: (/** @type {any[]} */ replacements) => {
      replaced.push(...replacements)
      return []
    }
  }
  let tell = () => {}
  let download = { id: 'd1', state: 'running' }
  const downloads = /** @type {any} */ ({
    load: async () => {},
    start: async () => download,
    get: () => ({ downloads: [download] }),
    subscribe: (/** @type {() => void} */ listener) => {
      tell = listener
      return () => {}
    }
  })
  const host = /** @type {any} */ ({ graph, refreshNodes: async () => {} })
  const workflow = createWorkflow(api, host, { names: /** @type {any} */ ({}), jobs: /** @type {any} */ ({ subscribe: () => () => {} }), downloads })
  const first = workflow.look()
  asked.shift()?.([{ ...file, state: 'unknown' }])
  await first
  await workflow.download(workflow.get().missing[0] ?? /** @type {any} */ (null))

  download = { id: 'd1', state: 'done' }
  tell()
  await expect.poll(() => asked.length).toBe(1)
  workflow.ended(/** @type {any} */ ({ kind: 'download', state: 'done' }))
  expect(asked.length).toBe(2)
  const [overtaken, latest] = asked.splice(0)
  overtaken?.([{ ...file, state: 'unknown' }])
  await new Promise((later) => setTimeout(later, 10))
  latest?.([came])
  await expect.poll(() => asked.length).toBe(1)
  expect(replaced).toEqual([{ ours: false, folder: 'loras', name: file.name, value: 'pixel.safetensors' }])
  asked.shift()?.([])
  await expect.poll(() => workflow.get().done).toEqual({ fixed: 1, left: [], noNode: [] })
})
