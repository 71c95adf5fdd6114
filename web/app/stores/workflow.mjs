import { createStore } from '../store.mjs'
import { hasEnded } from './jobs.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Jobs } from './jobs.mjs' */
/** @import { Names } from './names.mjs' */
/** @import { Host, Job, Replacement, Resolution } from '../types.mjs' */

/**
 * @typedef {Resolution & {key: string, ours: boolean, was: string}} Missing A model that the open workflow does not get as
 *   it stands. `was` is what the nodes say now; `ours` are those of our own nodes, which take ids.
 */

/** @typedef {{model_id: string, value: string | null}} Target What a node is to say instead; no value yet where a link is missing. */

/**
 * @typedef {object} WorkflowState
 * @property {boolean} looked whether there has been an answer for the open workflow
 * @property {boolean} looking
 * @property {ApiError | null} error
 * @property {number} total models that the workflow names
 * @property {Missing[]} missing
 * @property {Record<string, string>} choices by key, the candidate that the person chose
 * @property {boolean} fixing
 * @property {ApiError | null} fixError
 * @property {{fixed: number, left: string[]} | null} done what the last fix did, and the models it could not
 * @property {boolean} canDownload
 * @property {Record<string, string>} downloads by key, the job
 */

/** What is to be had from Hugging Face, from the address of a file there. @param {string} url */
export function downloadOf(url) {
  const found = /^https:\/\/huggingface\.co\/([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/([^?#]+)/.exec(url)
  if (!found) return null
  const [, repo_id, revision, path] = /** @type {string[]} */ ([...found])
  return { provider: 'huggingface', repo_id, revision: decodeURIComponent(revision ?? ''), files: [decodeURIComponent(path ?? '')] }
}

/** What is certain, or chosen. @param {Missing} one @param {Record<string, string>} choices @returns {Target | null} */
export function targetOf(one, choices) {
  const chosen = one.candidates.find(({ model_id }) => model_id === choices[one.key])
  if (chosen) return { model_id: chosen.model_id, value: one.ours ? chosen.model_id : (chosen.value ?? null) }
  if (!one.model_id) return null
  if (one.ours) return { model_id: one.model_id, value: one.model_id }
  if (one.state === 'elsewhere' && one.value) return { model_id: one.model_id, value: one.value }
  return one.state === 'in_library' ? { model_id: one.model_id, value: null } : null
}

/**
 * What the open workflow misses, and putting it right.
 * @param {Api} api
 * @param {Host} host
 * @param {{names: Names, jobs: Jobs}} parts
 */
export function createWorkflow(api, host, { names, jobs }) {
  const store = createStore(
    /** @type {WorkflowState} */ ({
      looked: false, looking: false, error: null, total: 0, missing: [], choices: {}, fixing: false, fixError: null, done: null,
      canDownload: false, downloads: {}
    })
  )
  let sequence = 0
  /** @type {Promise<boolean> | null} */
  let downloads = null

  /** Whether this server downloads. */
  function askDownloads() {
    downloads ??= api.get('/openapi.json').then(
      ({ paths }) => Boolean(paths?.['/librarian/downloads']?.post ?? paths?.['/downloads']?.post),
      () => {
        downloads = null
        return false
      }
    )
    return downloads
  }

  /** The models of our own nodes that are not here under their id. @returns {Promise<{total: number, missing: Missing[]}>} */
  async function lookAtOurs() {
    const all = host.graph?.ours() ?? []
    const ours = [...new Map(all.map((one) => [one.value, one])).values()]
    const gone = (await Promise.all(ours.map(async (one) => ((await names.ask(one.value, one.subtypes)).state === 'missing' ? [one] : [])))).flat()
    if (gone.length === 0) return { total: ours.length, missing: [] }
    const references = gone.map(({ value, subtypes, stated }) => ({
      folder: stated?.directory ?? subtypes[0] ?? '',
      name: String(stated?.name || value.split('/').pop() || value),
      ...(/^[0-9a-f]{64}$/i.test(stated?.sha256) ? { sha256: stated.sha256 } : {}),
      ...(stated?.url ? { url: stated.url } : {})
    }))
    const { results } = await api.post('/resolve', { references })
    return {
      total: ours.length,
      missing: results.map((/** @type {Resolution} */ result, /** @type {number} */ at) => {
        const was = gone[at]?.value ?? ''
        return { ...result, key: `id:${was}`, ours: true, was }
      })
    }
  }

  /** @param {any} workflow @returns {Promise<{total: number, missing: Missing[]}>} */
  async function resolve(workflow) {
    if (!workflow?.nodes?.length) return { total: 0, missing: [] }
    const [{ results }, ours] = await Promise.all([api.post('/resolve', { workflow }), lookAtOurs()])
    const missing = results
      .filter((/** @type {Resolution} */ { state }) => state !== 'present')
      .map((/** @type {Resolution} */ result) => ({ ...result, key: `${result.folder}:${result.name}`, ours: false, was: result.name }))
    return { total: results.length + ours.total, missing: [...missing, ...ours.missing] }
  }

  async function look() {
    if (!host.graph) return
    const mine = ++sequence
    store.set({ looking: true, error: null })
    try {
      const { total, missing } = await resolve(host.graph.serialize())
      if (mine !== sequence) return
      const { choices } = store.get()
      const kept = missing.flatMap(({ key }) => (choices[key] ? [[key, choices[key]]] : []))
      store.set({ looked: true, looking: false, total, missing, choices: Object.fromEntries(kept) })
      if (missing.some(({ state }) => state === 'downloadable')) store.set({ canDownload: await askDownloads() })
    } catch (error) {
      if (mine === sequence) store.set({ looking: false, error: /** @type {ApiError} */ (error) })
    }
  }

  /** @param {string} id @returns {Promise<Job>} once it has ended */
  const ended = (id) =>
    new Promise((resolved) => {
      const check = () => {
        const job = jobs.find(id)
        if (!job || !hasEnded(job)) return false
        unsubscribe()
        resolved(job)
        return true
      }
      const unsubscribe = jobs.subscribe(check)
      check()
    })

  /** Link models into this ComfyUI, by the mappings. @param {string[]} modelIds */
  async function link(modelIds) {
    const { apps } = await api.get('/apps')
    const app = apps[0]?.app
    const plan = await api.post('/mappings/preview', { model_ids: modelIds, ...(app ? { app } : {}) })
    // Only what was asked for: links that no rule wants any more are for the person to remove.
    if (!plan.to_create?.length || plan.orphaned_to_remove?.length || plan.broken_to_remove?.length) return
    const { job } = await api.post('/mappings/apply', { plan_id: plan.plan_id })
    const over = ended(job.id)
    jobs.started(job)
    await over
  }

  /** @param {Missing[]} wanted */
  async function fix(wanted) {
    const { graph } = host
    const { choices, fixing } = store.get()
    const targets = new Map(wanted.flatMap((one) => {
      const target = targetOf(one, choices)
      return target ? [[one.key, { one, target }]] : []
    }))
    if (!graph || fixing || targets.size === 0) return
    store.set({ fixing: true, fixError: null, done: null })
    try {
      const unlinked = [...targets.values()].filter(({ target }) => target.value === null)
      if (unlinked.length > 0) {
        await link([...new Set(unlinked.map(({ target }) => target.model_id))])
        await host.refreshNodes()
        const now = new Map((await resolve(graph.serialize())).missing.map((one) => [one.key, one]))
        for (const { one, target } of unlinked) {
          const found = now.get(one.key)
          // Linked under the very name that the workflow has.
          if (!found) target.value = one.was
          else if (found.model_id === target.model_id) target.value = found.value ?? null
          else target.value = found.candidates.find(({ model_id }) => model_id === target.model_id)?.value ?? null
        }
      }
      /** @type {Map<Replacement, string>} */
      const replacements = new Map()
      for (const [key, { one, target }] of targets) {
        if (target.value === null || target.value === one.was) continue
        if (one.ours) await names.ask(target.value, [])
        replacements.set({ ours: one.ours, folder: one.folder, name: one.was, value: target.value }, key)
      }
      let left = replacements.size > 0 ? graph.replace([...replacements.keys()]) : []
      if (left.length > 0) {
        // A file may have come since ComfyUI last listed its folders.
        await host.refreshNodes()
        left = graph.replace(left)
      }
      await look()
      const failed = new Set(left.map((one) => replacements.get(one)))
      for (const { key } of store.get().missing) failed.add(key)
      const undone = [...targets].filter(([key]) => failed.has(key))
      store.set({ fixing: false, done: { fixed: targets.size - undone.length, left: undone.map(([, { one }]) => one.name) } })
    } catch (error) {
      store.set({ fixing: false, fixError: /** @type {ApiError} */ (error) })
      void look()
    }
  }

  return {
    ...store,
    look,
    fix,

    /** How many models the open workflow does not get as it stands. */
    missing: () => store.get().missing.length,

    /** Everything that is certain or chosen, in one go. */
    fixAll: () => fix(store.get().missing),

    /** @param {string} key @param {string} modelId empty for none */
    choose: (key, modelId) => store.set({ choices: { ...store.get().choices, [key]: modelId } }),

    /** @param {Missing} one */
    async download(one) {
      const wanted = downloadOf(one.url ?? '')
      if (!wanted) return
      store.set({ fixError: null })
      try {
        const { job } = await api.post('/downloads', wanted)
        store.set({ downloads: { ...store.get().downloads, [one.key]: job.id } })
        jobs.started(job)
      } catch (error) {
        store.set({ fixError: /** @type {ApiError} */ (error) })
      }
    },

    /** What a job brought may be what was missing. @param {Job} job */
    ended(job) {
      const { looked, missing, fixing } = store.get()
      if (looked && missing.length > 0 && !fixing && job.state === 'done') void look()
    }
  }
}

/** @typedef {ReturnType<typeof createWorkflow>} Workflow */
