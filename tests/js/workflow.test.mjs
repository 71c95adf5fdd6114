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
