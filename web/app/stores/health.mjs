import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job, Link } from '../types.mjs' */

/** @typedef {{app: string, target: string, source: string}} FoundLink */
/** @typedef {{app: string, root: string, links: number}} GhostApp */

/**
 * @typedef {object} HealthReport
 * @property {'healthy' | 'warnings' | 'errors'} status
 * @property {Link[]} broken_links
 * @property {FoundLink[]} orphaned_links
 * @property {GhostApp[]} ghost_apps
 * @property {Link[]} missing_files
 * @property {Link[]} changed_links
 * @property {FoundLink[]} others_broken
 * @property {Link[]} unreachable
 * @property {number} total_issues
 */

/** What can be cleaned, and where the report lists it. */
export const CLEANABLE = /** @type {const} */ ({
  broken: 'broken_links',
  orphaned: 'orphaned_links',
  ghosts: 'ghost_apps',
  missing: 'missing_files'
})
/** @typedef {keyof typeof CLEANABLE} Cleanable */
/** @typedef {{broken: number, orphaned: number, ghosts: number, missing: number, errors: string[]}} Cleaned */

/**
 * @typedef {object} HealthState
 * @property {HealthReport | null} report
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {boolean} cleaning
 * @property {ApiError | null} cleanError
 * @property {Cleaned | null} cleaned what was cleaned last
 * @property {string | null} repairJobId
 * @property {boolean} startingRepair
 * @property {ApiError | null} repairError
 */

/** @param {any} report @returns {HealthReport} */
const tidy = (report) => ({
  ...report,
  broken_links: report.broken_links ?? [],
  orphaned_links: report.orphaned_links ?? [],
  ghost_apps: report.ghost_apps ?? [],
  missing_files: report.missing_files ?? [],
  changed_links: report.changed_links ?? [],
  others_broken: report.others_broken ?? [],
  unreachable: report.unreachable ?? []
})

/** How many links of an app need care. @param {HealthReport | null} report @param {string} app */
export const issuesOf = (report, app) =>
  report
    ? [...report.broken_links, ...report.orphaned_links, ...report.missing_files, ...report.changed_links].filter((link) => link.app === app).length
    : 0

/**
 * How the links do, and what can be done about it.
 * @param {Api} api
 * @param {{started: (job: Job) => void, linksChanged: () => void}} tell
 */
export function createHealth(api, { started, linksChanged }) {
  const store = createStore(
    /** @type {HealthState} */ ({
      report: null, loading: false, error: null, cleaning: false, cleanError: null, cleaned: null,
      repairJobId: null, startingRepair: false, repairError: null
    })
  )
  let sequence = 0

  async function load() {
    const mine = ++sequence
    store.set({ loading: true, error: null })
    try {
      const report = await api.get('/health')
      if (mine === sequence) store.set({ report: tidy(report), loading: false })
    } catch (error) {
      if (mine === sequence) store.set({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  return {
    ...store,
    load,

    /** What the server found by itself at its start. Asking is newer. @param {Job} job */
    takeStart(job) {
      if (job.kind === 'health' && job.state === 'done' && job.result && !store.get().report) store.set({ report: tidy(job.result) })
    },

    /** Look again, if anybody looked before. */
    refresh() {
      if (store.get().report) void load()
    },

    /** @param {Cleanable[]} kinds @returns {Promise<boolean>} whether it was done */
    async clean(kinds) {
      store.set({ cleaning: true, cleanError: null, cleaned: null })
      try {
        const cleaned = await api.post('/health/clean', Object.fromEntries(kinds.map((kind) => [kind, true])))
        store.set({ cleaning: false, cleaned })
        if (cleaned.broken || cleaned.orphaned) linksChanged()
        await load()
        return true
      } catch (error) {
        store.set({ cleaning: false, cleanError: /** @type {ApiError} */ (error) })
        return false
      }
    },

    async repair() {
      store.set({ startingRepair: true, repairError: null, cleaned: null })
      try {
        const { job } = await api.post('/links/repair')
        store.set({ startingRepair: false, repairJobId: job.id })
        started(job)
      } catch (error) {
        store.set({ startingRepair: false, repairError: /** @type {ApiError} */ (error) })
      }
    },

    /** The results of the last repair and cleaning have been read. */
    forgetResults: () => store.set({ repairJobId: null, cleaned: null, cleanError: null, repairError: null })
  }
}

/** @typedef {ReturnType<typeof createHealth>} Health */
