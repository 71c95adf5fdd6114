import { modelPath } from '../api.mjs'
import { createStore } from '../store.mjs'
import { hasEnded } from './jobs.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job, ModelRow, Plan } from '../types.mjs' */
/** @import { Jobs } from './jobs.mjs' */
/** @import { Search } from './search.mjs' */
/** @import { Selection } from './selection.mjs' */

/** The most models of one request, as the server has it. */
const MOST = 10_000
/** Requests at a time where each model needs one of its own. */
const AT_A_TIME = 4

/** @typedef {{fields?: Record<string, unknown>, add_tags?: string[], remove_tags?: string[]}} Change */
/** @typedef {{rows: ModelRow[], change: Change}} Step */
/** @typedef {{edited: ModelRow[], failed: {model_id: string, message: string}[]}} Edited rows as they were before */
/** @typedef {{removed: ModelRow[], unlinked: number, files: number, failed: {row: ModelRow, error: ApiError}[]}} Removed */

/**
 * @typedef {object} BulkState
 * @property {boolean} busy
 * @property {number} done of `total`, while each model needs a request of its own
 * @property {number} total
 */

/** @template T @param {T[]} all @param {number} size @returns {T[][]} */
const chunks = (all, size) => Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size))

/** @template T @param {T[]} all @param {(one: T) => string} key @returns {T[][]} */
function grouped(all, key) {
  /** @type {Map<string, T[]>} */
  const groups = new Map()
  for (const one of all) groups.set(key(one), [...(groups.get(key(one)) ?? []), one])
  return [...groups.values()]
}

/** A row after a change. @param {ModelRow} row @param {Change} change @returns {ModelRow} */
export function changed(row, { fields = {}, add_tags = [], remove_tags = [] }) {
  const tags = [...new Set([...(row.tags ?? []), ...add_tags])].filter((tag) => !remove_tags.includes(tag))
  return { ...row, ...fields, tags }
}

/** What brings back the values that rows had before a change: tags only where they came or went.
 * @param {ModelRow[]} rows as they were @param {Change} change @returns {Step[]} */
export function inverse(rows, { fields = {}, add_tags = [], remove_tags = [] }) {
  /** @param {ModelRow} row @returns {Change} */
  const back = (row) => {
    const had = row.tags ?? []
    const came = add_tags.filter((tag) => !had.includes(tag) && !remove_tags.includes(tag))
    const went = remove_tags.filter((tag) => had.includes(tag))
    const before = Object.fromEntries(Object.keys(fields).map((field) => [field, /** @type {any} */ (row)[field] ?? '']))
    return { ...(Object.keys(before).length > 0 && { fields: before }), ...(went.length > 0 && { add_tags: went }), ...(came.length > 0 && { remove_tags: came }) }
  }
  return grouped(rows, (row) => JSON.stringify(back(row)))
    .map((some) => ({ rows: some, change: back(/** @type {ModelRow} */ (some[0])) }))
    .filter(({ change }) => Object.keys(change).length > 0)
}

/**
 * The same for many models.
 * @param {Api} api
 * @param {{jobs: Jobs, search: Search, selection: Selection}} parts
 */
export function createBulk(api, { jobs, search, selection }) {
  const store = createStore(/** @type {BulkState} */ ({ busy: false, done: 0, total: 0 }))
  let stopped = false

  /** @param {Job} job @returns {Promise<Job>} the job as it ended */
  function whenEnded(job) {
    jobs.take(job)
    return new Promise((resolve) => {
      const look = () => {
        const now = jobs.find(job.id)
        if (now && !hasEnded(now)) return
        leave()
        resolve(now ?? { ...job, state: 'interrupted' })
      }
      const leave = jobs.subscribe(look)
      look()
    })
  }

  /** @param {ModelRow[]} rows as they are now */
  function show(rows) {
    const now = new Map(rows.map((row) => [row.model_id, row]))
    search.patchRows(now)
    selection.update((row) => now.get(row.model_id) ?? row)
  }

  /** @template T @param {ModelRow[]} rows @param {(row: ModelRow) => Promise<T>} work @returns {Promise<T[]>} */
  async function each(rows, work) {
    stopped = false
    store.set({ busy: true, done: 0, total: rows.length })
    /** @type {T[]} */
    const answers = []
    let next = 0
    const worker = async () => {
      while (next < rows.length && !stopped) {
        const at = next++
        answers[at] = await work(/** @type {ModelRow} */ (rows[at]))
        store.set({ done: store.get().done + 1 })
      }
    }
    try {
      await Promise.all(Array.from({ length: AT_A_TIME }, worker))
    } finally {
      stopped = true
      store.set({ busy: false })
    }
    return answers.filter((one) => one !== undefined)
  }

  /**
   * Edit, step by step; raises what the server says if it takes the change for wrong.
   * @param {Step[]} steps @returns {Promise<Edited>}
   */
  async function edit(steps) {
    /** @type {Edited} */
    const told = { edited: [], failed: [] }
    store.set({ busy: true, done: 0, total: 0 })
    try {
      for (const { rows, change } of steps) {
        for (const some of chunks(rows, MOST)) {
          const { job } = await api.patch('/models', { model_ids: some.map(({ model_id }) => model_id), fields: {}, add_tags: [], remove_tags: [], ...change })
          const ended = await whenEnded(job)
          const outcomes = new Map((ended.result?.models ?? []).map((/** @type {any} */ one) => [one.model_id, one]))
          const done = some.filter(({ model_id }) => outcomes.get(model_id)?.edited)
          told.edited.push(...done)
          for (const row of some) {
            if (!done.includes(row)) told.failed.push({ model_id: row.model_id, message: outcomes.get(row.model_id)?.message ?? ended.error?.message ?? ended.state })
          }
          show(done.map((row) => changed(row, change)))
        }
      }
    } finally {
      store.set({ busy: false })
    }
    return told
  }

  return {
    ...store,
    edit,

    /** Make no further request; what is done stays done. */
    stop() {
      stopped = true
    },

    /** @param {ModelRow[]} rows @returns {Promise<Plan>} */
    previewLinks: (rows) => api.post('/mappings/preview', { model_ids: rows.map(({ model_id }) => model_id) }),

    /** Make the links of a plan; what is in the way stays. @param {Plan} plan */
    async link(plan) {
      const { job } = await api.post('/mappings/apply', { plan_id: plan.plan_id, resolutions: {}, default_resolution: 'skip' })
      jobs.started(job)
    },

    /** Move models into the library and leave links. @param {ModelRow[]} rows @param {boolean} acknowledged
     * @returns {Promise<number>} how many */
    async adopt(rows, acknowledged) {
      const items = await each(rows, async (row) => {
        const { files } = await api.get(modelPath(row.model_id))
        return { paths: files.map((/** @type {any} */ file) => file.path), mode: 'adopt', acknowledge_pickle: acknowledged && row.security_tier === 'pickle' }
      })
      if (items.length < rows.length) return 0
      for (const some of chunks(items, MOST)) {
        const { job } = await api.post('/imports', { items: some, delete_originals: false, link: false })
        jobs.started(job)
        // Every one of them has another id then.
        void whenEnded(job).then(() => search.load())
      }
      return items.length
    },

    /** @param {ModelRow[]} rows @param {'trash' | 'permanent' | 'keep'} files @returns {Promise<Removed>} */
    async remove(rows, files) {
      /** @type {Removed} */
      const told = { removed: [], unlinked: 0, files: 0, failed: [] }
      await each(rows, async (row) => {
        try {
          const answer = await api.delete(`${modelPath(row.model_id)}?files=${files}`)
          told.removed.push(row)
          told.unlinked += answer?.unlinked ?? 0
          told.files += answer?.files_removed ?? 0
        } catch (error) {
          told.failed.push({ row, error: /** @type {ApiError} */ (error) })
        }
        return true
      })
      const gone = new Set(told.removed.map(({ model_id }) => model_id))
      selection.update((row) => (gone.has(row.model_id) ? null : row))
      search.removeRows(gone)
      return told
    }
  }
}

/** @typedef {ReturnType<typeof createBulk>} Bulk */
