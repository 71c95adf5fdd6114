import { query } from '../api.mjs'
import { createStore } from '../store.mjs'
import { hasEnded } from './jobs.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job, ModelRow, Plan } from '../types.mjs' */

/** Models listed as the largest. */
const LARGEST = 10
/** Milliseconds to gather changes in before all is asked again. */
const GATHER = 1500

/** @typedef {{name: string, models: number, size_bytes: number, total_bytes?: number | null, free_bytes?: number | null}} Share */
/** @typedef {{size_bytes: number, by_type: Share[], by_family: Share[], by_drive: Share[]}} StorageReport */
/** @typedef {{model_id: string, path: string, storage: string, official_name: string, model_format: string, security_tier: string, can_share: boolean}} DuplicateFile */
/** @typedef {{sha256: string, size_bytes: number, bytes_to_win: number, to_share: number, files: DuplicateFile[]}} DuplicateGroup */
/** @typedef {{groups: DuplicateGroup[], bytes_to_win: number, files_to_hash: number}} DuplicateReport */

/** @typedef {{model_id: string, path: string, keeper: string, way: 'clone' | 'hardlink', size_bytes: number, bytes_to_win: number}} SharedFile */
/** @typedef {{files: SharedFile[], left: {model_id: string, path: string, code: string, reason: string}[], bytes_to_win: number}} SharePlan */

/**
 * @typedef {object} Way What can become of one group.
 * @property {DuplicateGroup} group
 * @property {DuplicateFile | null} keeper whose bytes stay; null where no link can replace anything
 * @property {boolean} moves whether the keeper goes into the library first
 * @property {DuplicateFile[]} copies what links can replace
 * @property {DuplicateFile[]} left what they cannot: a second model of the library, or a part of a larger model
 */

/**
 * @typedef {object} Replacement What will be done, after it was previewed.
 * @property {Way[]} ways
 * @property {Plan | null} plan of the library's own models among them
 * @property {{file: DuplicateFile, keeper: DuplicateFile, size: number}[]} byPlan copies that lie where the plan wants a link
 * @property {{file: DuplicateFile, keeper: DuplicateFile, size: number}[]} byAdoption copies elsewhere, which are adopted
 * @property {DuplicateFile[]} moved what goes into the library first
 * @property {SharePlan & {sha256: string[]} | null} share what becomes of equal files of the library's own
 * @property {number} bytes that links give back
 * @property {number} pickles how many files that are adopted need a yes
 */

/** @typedef {{replaced: number, bytes: number, shared: number, sharedBytes: number, remaining: string[], problems: string[]}} Outcome `remaining` are paths of copies that are still copies */

/** @param {DuplicateGroup} group @returns {Way} */
export function wayOf(group) {
  const whole = group.files.filter((file) => file.model_format === 'single-file')
  const keeper = whole.find((file) => file.storage === 'owned') ?? whole[0] ?? null
  const copies = whole.filter((file) => file !== keeper && file.storage !== 'owned')
  if (!keeper || copies.length === 0) return { group, keeper: null, moves: false, copies: [], left: group.files }
  const left = group.files.filter((file) => file !== keeper && !copies.includes(file))
  return { group, keeper, moves: keeper.storage !== 'owned', copies, left }
}

/** @param {Way[]} ways */
const bytesOf = (ways) => ways.reduce((sum, { group, copies }) => sum + group.size_bytes * copies.length, 0)

/** Bytes that links can give back by themselves. @param {DuplicateReport} report */
export const bytesByLinks = (report) => bytesOf(report.groups.map(wayOf))

/** How many of the library's own files need not be stored, and their bytes. @param {DuplicateGroup[]} groups */
export function toShare(groups) {
  const some = groups.filter(({ to_share }) => to_share > 0)
  return {
    count: some.reduce((sum, { to_share }) => sum + to_share, 0),
    bytes: some.reduce((sum, { to_share, size_bytes }) => sum + to_share * size_bytes, 0)
  }
}

/**
 * @typedef {object} StorageState
 * @property {StorageReport | null} report
 * @property {ModelRow[]} largest
 * @property {ApiError | null} error
 * @property {DuplicateReport | null} duplicates
 * @property {ApiError | null} duplicatesError
 * @property {boolean} loading
 * @property {boolean} preparing
 * @property {Replacement | null} replacement
 * @property {ApiError | null} replaceError
 * @property {boolean} starting
 * @property {string[]} jobIds of the replacement under way
 * @property {Outcome | null} outcome of the last one
 */

/**
 * What takes the room, and copies that links could replace.
 * @param {Api} api
 * @param {{started: (job: Job) => Job, jobs: {find: (id: string) => Job | null}}} tell
 */
export function createStorage(api, { started, jobs }) {
  const store = createStore(
    /** @type {StorageState} */ ({
      report: null, largest: [], error: null, duplicates: null, duplicatesError: null, loading: false,
      preparing: false, replacement: null, replaceError: null, starting: false, jobIds: [], outcome: null
    })
  )
  let sequence = 0
  let preparation = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let gathering
  /** @type {Replacement | null} */
  let underWay = null
  /** What has ended, and of which nobody has told yet what became of it. @type {{replacement: Replacement, jobIds: string[]} | null} */
  let unsettled = null

  /** @param {Promise<any>} asked @param {number} mine @param {(answer: any) => void} show @param {'error' | 'duplicatesError'} failed */
  async function answered(asked, mine, show, failed) {
    try {
      const answer = await asked
      if (mine === sequence) show(answer)
    } catch (error) {
      if (mine === sequence) store.set({ [failed]: /** @type {ApiError} */ (error) })
    }
  }

  async function load() {
    clearTimeout(gathering)
    const mine = ++sequence
    store.set({ loading: true })
    await Promise.all([
      answered(Promise.all([api.get('/storage'), api.get(`/models${query({ sort: 'size', order: 'desc', limit: LARGEST })}`)]), mine,
        ([report, { models }]) => store.set({ report, largest: models, error: null }), 'error'),
      answered(api.get('/duplicates'), mine, (duplicates) => store.set({ duplicates, duplicatesError: null, ...settled(duplicates) }), 'duplicatesError')
    ])
    if (mine === sequence) store.set({ loading: false })
  }

  /** @param {DuplicateGroup[]} groups @returns {Promise<Replacement>} */
  async function preview(groups) {
    const ways = groups.map(wayOf).filter(({ copies }) => copies.length > 0)
    const sha256 = groups.filter(({ to_share }) => to_share > 0).map((group) => group.sha256)
    const share = sha256.length > 0 ? { .../** @type {SharePlan} */ (await api.post('/duplicates/share/preview', { sha256 })), sha256 } : null
    const owned = ways.filter(({ moves }) => !moves).map(({ keeper }) => /** @type {DuplicateFile} */ (keeper).model_id)
    const plan = owned.length > 0 ? /** @type {Plan} */ (await api.post('/mappings/preview', { model_ids: owned })) : null
    const wanted = new Set((plan?.conflicts ?? []).filter(({ reason }) => reason === 'same_bytes').map(({ target }) => target))
    const all = ways.flatMap(({ group, keeper, copies }) =>
      copies.map((file) => ({ file, keeper: /** @type {DuplicateFile} */ (keeper), size: group.size_bytes }))
    )
    const byPlan = all.filter(({ file }) => wanted.has(file.path))
    const byAdoption = all.filter(({ file }) => !wanted.has(file.path))
    const moved = ways.filter(({ moves }) => moves).map(({ keeper }) => /** @type {DuplicateFile} */ (keeper))
    const adopted = [...moved, ...byAdoption.map(({ file }) => file)]
    return {
      ways, byPlan, byAdoption, moved, share,
      plan: byPlan.length > 0 ? plan : null,
      bytes: bytesOf(ways),
      pickles: adopted.filter(({ security_tier }) => security_tier === 'pickle').length
    }
  }

  /** What became of a replacement that has ended, by what the index says since. @param {DuplicateReport} duplicates @returns {Partial<StorageState>} */
  function settled(duplicates) {
    if (!unsettled) return {}
    const { replacement, jobIds } = unsettled
    unsettled = null
    const still = new Set(duplicates.groups.flatMap(({ files }) => files.map(({ path }) => path)))
    const all = [...replacement.byPlan, ...replacement.byAdoption]
    const done = all.filter(({ file }) => !still.has(file.path))
    const shares = jobIds.flatMap((id) => jobs.find(id)).filter((job) => job?.kind === 'share')
    const sharing = new Set(shares.flatMap((job) => job?.items ?? []).filter(({ state }) => state === 'done').map(({ name }) => name))
    const toBeShared = replacement.share?.files ?? []
    const shared = toBeShared.filter(({ path }) => sharing.has(path))
    const problems = jobIds.flatMap((id) => {
      const job = jobs.find(id)
      const items = (job?.items ?? []).filter((item) => item.state === 'failed').map((item) => `${item.name}: ${item.message}`)
      return [...(job?.error ? [job.error.message] : []), ...(job?.result?.errors ?? []), ...items]
    })
    return {
      jobIds: [],
      outcome: {
        replaced: done.length,
        bytes: done.reduce((sum, { size }) => sum + size, 0),
        shared: shared.length,
        sharedBytes: shared.reduce((sum, { bytes_to_win }) => sum + bytes_to_win, 0),
        remaining: [...all.filter((one) => !done.includes(one)).map(({ file }) => file.path), ...toBeShared.filter((one) => !shared.includes(one)).map(({ path }) => path)],
        problems: [...new Set(problems)]
      }
    }
  }

  /** A job has ended. @param {Job} job */
  function ended(job) {
    const { jobIds } = store.get()
    if (!underWay || !jobIds.includes(job.id)) return
    const open = jobIds.filter((id) => id !== job.id).some((id) => {
      const other = jobs.find(id)
      return other !== null && !hasEnded(other)
    })
    if (open) return
    unsettled = { replacement: underWay, jobIds }
    underWay = null
    void load()
  }

  return {
    ...store,
    load,

    /** Something changed: asked again, if it was asked at all. */
    changed() {
      const { report, duplicates } = store.get()
      if (!report && !duplicates) return
      clearTimeout(gathering)
      gathering = setTimeout(load, GATHER)
    },

    /** Look what storing equal files once would do. Changes nothing. @param {DuplicateGroup[]} groups */
    async prepare(groups) {
      const mine = ++preparation
      store.set({ preparing: true, replacement: null, replaceError: null, outcome: null })
      try {
        const replacement = await preview(groups)
        if (mine === preparation) store.set({ preparing: false, replacement })
      } catch (error) {
        if (mine === preparation) store.set({ preparing: false, replaceError: /** @type {ApiError} */ (error) })
      }
    },

    leave() {
      preparation += 1
      store.set({ preparing: false, replacement: null, replaceError: null })
    },

    dismissOutcome: () => store.set({ outcome: null, replaceError: null }),

    /** Do what was previewed. @param {boolean} acknowledged whether the person vouches for the pickles among them */
    async replace(acknowledged) {
      const { replacement, starting } = store.get()
      if (!replacement || starting) return
      const { plan, byPlan, byAdoption, moved, share } = replacement
      store.set({ starting: true, replaceError: null })
      /** @type {Job[]} */
      const begun = []
      /** @type {ApiError | null} */
      let replaceError = null
      try {
        if (plan) {
          const resolutions = Object.fromEntries(byPlan.map(({ file }) => [file.path, 'overwrite']))
          begun.push((await api.post('/mappings/apply', { plan_id: plan.plan_id, resolutions, default_resolution: 'skip' })).job)
        }
        const adopted = [...moved, ...byAdoption.map(({ file }) => file)]
        if (adopted.length > 0) {
          const items = adopted.map(({ path, security_tier }) => ({ paths: [path], mode: 'adopt', acknowledge_pickle: security_tier === 'pickle' && acknowledged }))
          begun.push((await api.post('/imports', { items, delete_originals: false, link: false })).job)
        }
        if (share && share.files.length > 0) {
          begun.push((await api.post('/duplicates/share', { sha256: share.sha256, hard_links: share.files.some(({ way }) => way === 'hardlink') })).job)
        }
      } catch (error) {
        replaceError = /** @type {ApiError} */ (error)
      }
      underWay = begun.length > 0 ? replacement : null
      store.set({ starting: false, replaceError, replacement: begun.length > 0 || !replaceError ? null : replacement, jobIds: begun.map(({ id }) => id) })
      // Events overtake answers: one that is over already may have been told of before anybody waited for it.
      for (const job of begun.map(started)) if (hasEnded(job)) ended(job)
    },

    ended
  }
}

/** @typedef {ReturnType<typeof createStorage>} StorageStore */
