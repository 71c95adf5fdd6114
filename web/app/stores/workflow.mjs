import { createStore, newestOf } from '../store.mjs'
import { hasEnded } from './jobs.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Downloads } from './downloads.mjs' */
/** @import { Jobs } from './jobs.mjs' */
/** @import { Names } from './names.mjs' */
/** @import { Download, DownloadRequest, Host, Job, Replacement, Resolution } from '../types.mjs' */

/**
 * @typedef {Resolution & {key: string, ours: boolean, was: string}} Missing A model that the open workflow does not get as
 *   it stands. `was` is what the nodes say now; `ours` are those of our own nodes, which take ids.
 */

/** @typedef {{total: number, missing: Missing[], differing: Missing[]}} Found What there is to say of a workflow. */

/** @typedef {{model_id: string, value: string | null}} Target What a node is to say instead; no value yet where a link is missing. */

/**
 * @typedef {object} WorkflowState
 * @property {boolean} looked whether there has been an answer for the open workflow
 * @property {boolean} looking
 * @property {ApiError | null} error
 * @property {number} total models that the workflow names
 * @property {Missing[]} missing
 * @property {Missing[]} differing models that are here under their names, but with other bytes than the workflow names
 * @property {Record<string, string>} choices by key, the candidate that the person chose
 * @property {boolean} fixing
 * @property {ApiError | null} fixError
 * @property {{fixed: number, left: string[], noNode: string[]} | null} done what the last fix did, the models it could not, and
 *   those that no node here takes
 * @property {Record<string, string>} downloads by key, the id of what was asked for here
 * @property {Record<string, ApiError>} refused by key, why a download did not even begin
 */

/** The download of a model, as the server is asked for it. @param {Missing} one @returns {DownloadRequest} */
export const downloadOf = ({ url, folder, sha256 }) => ({
  provider: 'url',
  url: url ?? '',
  link: true,
  ...(folder ? { directory: folder } : {}),
  ...(sha256 ? { sha256 } : {})
})

/** Whether a model has an address from which it can come. @param {Missing} one */
export const canBeHad = ({ url }) => /^https:\/\//i.test(url ?? '')

/** Whether the person said yes to a file with other bytes. @param {Missing} one @param {Record<string, string>} choices */
const isAccepted = (one, choices) => Boolean(one.model_id) && choices[one.key] === one.model_id

/** What is certain, or chosen. @param {Missing} one @param {Record<string, string>} choices @returns {Target | null} */
export function targetOf(one, choices) {
  if (one.hash_mismatch && !isAccepted(one, choices)) return null
  const chosen = one.candidates.find(({ model_id }) => model_id === choices[one.key])
  if (chosen) return { model_id: chosen.model_id, value: one.ours ? chosen.model_id : (chosen.value ?? null) }
  if (!one.model_id) return null
  if (one.ours) return { model_id: one.model_id, value: one.model_id }
  if (one.state === 'elsewhere' && one.value) return { model_id: one.model_id, value: one.value }
  return one.state === 'in_library' ? { model_id: one.model_id, value: null } : null
}

/** @template T @param {Record<string, T>} record @param {string} key @returns {Record<string, T>} */
function without(record, key) {
  const rest = { ...record }
  delete rest[key]
  return rest
}

/** Files with other bytes that nobody has said yes to. @param {WorkflowState} state */
export const unaccepted = ({ differing, choices }) => differing.filter((one) => !isAccepted(one, choices))

/**
 * What the open workflow misses, and putting it right.
 * @param {Api} api
 * @param {Host} host
 * @param {{names: Names, jobs: Jobs, downloads: Downloads}} parts
 */
export function createWorkflow(api, host, { names, jobs, downloads }) {
  const store = createStore(
    /** @type {WorkflowState} */ ({
      looked: false, looking: false, error: null, total: 0, missing: [], differing: [], choices: {}, fixing: false, fixError: null,
      done: null, downloads: {}, refused: {}
    })
  )
  /** Fixing, one after another. @type {Promise<void>} */
  let turn = Promise.resolve()

  /** The models of our own nodes that are not here under their id. @returns {Promise<Found>} */
  async function lookAtOurs() {
    const all = host.graph?.ours() ?? []
    const ours = [...new Map(all.map((one) => [one.value, one])).values()]
    const gone = (await Promise.all(ours.map(async (one) => ((await names.ask(one.value, one.subtypes)).state === 'missing' ? [one] : [])))).flat()
    if (gone.length === 0) return { total: ours.length, missing: [], differing: [] }
    const references = gone.map(({ value, subtypes, stated }) => ({
      folder: stated?.directory ?? subtypes[0] ?? '',
      name: String(stated?.name || value.split('/').pop() || value),
      ...(/^[0-9a-f]{64}$/i.test(stated?.sha256) ? { sha256: stated.sha256 } : {}),
      ...(stated?.url ? { url: stated.url } : {})
    }))
    const { results } = await api.post('/resolve', { references })
    return {
      total: ours.length,
      differing: [],
      missing: results.map((/** @type {Resolution} */ result, /** @type {number} */ at) => {
        const was = gone[at]?.value ?? ''
        return { ...result, key: `id:${was}`, ours: true, was }
      })
    }
  }

  /** @param {any} workflow @returns {Promise<Found>} */
  async function resolve(workflow) {
    if (!workflow?.nodes?.length) return { total: 0, missing: [], differing: [] }
    const [{ results }, ours] = await Promise.all([api.post('/resolve', { workflow }), lookAtOurs()])
    /** @type {Missing[]} */
    const named = results.filter((/** @type {Resolution} */ { identity }) => !identity).map((/** @type {Resolution} */ result) => ({ ...result, key: `${result.folder}:${result.name}`, ours: false, was: result.name }))
    return {
      total: named.length + ours.total,
      missing: [...named.filter(({ state }) => state !== 'present'), ...ours.missing],
      differing: named.filter((one) => one.state === 'present' && one.hash_mismatch)
    }
  }

  const look = newestOf(async (isNewest) => {
    if (!host.graph) return
    store.set({ looking: true, error: null })
    try {
      const { total, missing, differing } = await resolve(host.graph.serialize())
      if (!isNewest()) return
      const { choices } = store.get()
      const kept = [...missing, ...differing].flatMap(({ key }) => (choices[key] ? [[key, choices[key]]] : []))
      store.set({ looked: true, looking: false, total, missing, differing, choices: Object.fromEntries(kept) })
      if ([...missing, ...differing].some(canBeHad)) void downloads.load()
    } catch (error) {
      if (isNewest()) store.set({ looking: false, error: /** @type {ApiError} */ (error) })
    }
  })

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
  function fix(wanted) {
    turn = turn.then(() => fixNow(wanted))
    return turn
  }

  /** @param {Missing[]} wanted */
  async function fixNow(wanted) {
    const { graph } = host
    const { choices } = store.get()
    const targets = new Map(wanted.flatMap((one) => {
      const target = targetOf(one, choices)
      return target ? [[one.key, { one, target }]] : []
    }))
    if (!graph || targets.size === 0) return
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
      const undone = [...targets].filter(([key]) => failed.has(key)).map(([, { one, target }]) => ({ name: one.name, listed: target.value !== null }))
      const done = {
        fixed: targets.size - undone.length,
        left: undone.flatMap(({ name, listed }) => (listed ? [] : [name])),
        // ComfyUI lists the file; what still says the other name is nothing that chooses from that list.
        noNode: undone.flatMap(({ name, listed }) => (listed ? [name] : []))
      }
      store.set({ fixing: false, done })
    } catch (error) {
      store.set({ fixing: false, fixError: /** @type {ApiError} */ (error) })
      void look()
    }
  }

  /** @param {Missing} one @returns {Download | undefined} what brings it, or brought it, whoever asked for it */
  function downloadFor({ key, url }) {
    const all = downloads.get().downloads
    const mine = store.get().downloads[key]
    const found = mine ? all.find(({ id }) => id === mine) : undefined
    if (found) return found
    const address = /^https:\/\/[^/]+\/([^/]+\/[^/]+)\/(?:resolve|blob)\/[^/]+\/([^?#]+)/.exec(url ?? '')
    if (!address) return undefined
    const [, repository, path] = address.map(decodeURIComponent)
    return all.find(({ provider, repo_id, files, state }) => provider === 'huggingface' && repo_id === repository && state !== 'done' && files.some((file) => file.path === path))
  }

  /** What was missing has come: the nodes get it. @param {string} key */
  async function arrived(key) {
    await host.refreshNodes()
    await look()
    const one = store.get().missing.find((other) => other.key === key)
    if (one) await fix([one])
  }

  downloads.subscribe(() => {
    const asked = store.get().downloads
    for (const [key, id] of Object.entries(asked)) {
      const found = downloads.get().downloads.find((one) => one.id === id)
      if (found?.state !== 'done') continue
      store.set({ downloads: without(store.get().downloads, key) })
      void arrived(key)
    }
  })

  return {
    ...store,
    look,
    fix,
    downloadFor,

    /** How many models the open workflow does not get as it stands. */
    missing: () => store.get().missing.length,

    /** Everything that is certain or chosen, in one go. */
    fixAll: () => fix(store.get().missing),

    /** @param {string} key @param {string} modelId empty for none */
    choose: (key, modelId) => store.set({ choices: { ...store.get().choices, [key]: modelId } }),

    /** Yes to a file with other bytes than the workflow names. @param {Missing} one */
    accept: (one) => store.set({ choices: { ...store.get().choices, [one.key]: one.model_id ?? '' } }),

    /** @param {Missing} one */
    async download(one) {
      const refused = without(store.get().refused, one.key)
      store.set({ refused })
      try {
        const download = await downloads.start(downloadOf(one))
        store.set({ downloads: { ...store.get().downloads, [one.key]: download.id } })
      } catch (error) {
        store.set({ refused: { ...refused, [one.key]: /** @type {ApiError} */ (error) } })
      }
    },

    /** What a job brought may be what was missing. @param {Job} job */
    ended(job) {
      const { looked, missing, differing, fixing } = store.get()
      if (looked && missing.length + differing.length > 0 && !fixing && job.state === 'done') void look()
    }
  }
}

/** @typedef {ReturnType<typeof createWorkflow>} Workflow */
