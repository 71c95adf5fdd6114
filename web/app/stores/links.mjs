import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job, LibrarianApp, Plan } from '../types.mjs' */

/** @typedef {'skip' | 'overwrite' | 'rename'} Resolution */

/**
 * @typedef {object} LinksState
 * @property {LibrarianApp[] | null} apps
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {string | null} previewOf the app planned for; empty for all
 * @property {boolean} previewing
 * @property {Plan | null} plan
 * @property {ApiError | null} planError
 * @property {Record<string, Resolution>} resolutions by target, where it differs from the default
 * @property {Resolution} defaultResolution
 * @property {boolean} applying
 * @property {ApiError | null} applyError
 * @property {string | null} jobId
 */

/**
 * What an apply will do, in numbers, after the person's choices.
 * @param {Plan} plan
 * @param {Record<string, Resolution>} resolutions
 * @param {Resolution} defaultResolution
 */
export function consequences(plan, resolutions, defaultResolution) {
  const count = { skip: 0, overwrite: 0, rename: 0 }
  for (const { target } of plan.conflicts) count[resolutions[target] ?? defaultResolution] += 1
  const removed = plan.broken_to_remove.length + plan.orphaned_to_remove.length
  return {
    created: plan.to_create.length + count.overwrite + count.rename,
    removed,
    overwritten: count.overwrite,
    renamed: count.rename,
    skipped: count.skip,
    total: plan.to_create.length + count.overwrite + count.rename + removed
  }
}

/** @param {any} plan @returns {Plan} */
const tidy = (plan) => ({
  ...plan,
  to_create: plan.to_create ?? [],
  to_skip_exists: plan.to_skip_exists ?? [],
  conflicts: plan.conflicts ?? [],
  broken_to_remove: plan.broken_to_remove ?? [],
  orphaned_to_remove: plan.orphaned_to_remove ?? [],
  warnings: plan.warnings ?? [],
  errors: plan.errors ?? []
})

/**
 * @param {Api} api
 * @param {(job: Job) => void} started
 */
export function createLinks(api, started) {
  const store = createStore(
    /** @type {LinksState} */ ({
      apps: null,
      loading: false,
      error: null,
      previewOf: null,
      previewing: false,
      plan: null,
      planError: null,
      resolutions: {},
      defaultResolution: 'skip',
      applying: false,
      applyError: null,
      jobId: null
    })
  )
  let sequence = 0

  async function load() {
    store.set({ loading: true, error: null })
    try {
      const { apps } = await api.get('/apps')
      store.set({ apps, loading: false })
    } catch (error) {
      store.set({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  /** @param {string} app empty for all */
  async function preview(app) {
    const mine = ++sequence
    store.set({ previewOf: app, previewing: true, plan: null, planError: null, applyError: null, jobId: null })
    try {
      const plan = await api.post('/mappings/preview', app ? { app } : {})
      if (mine === sequence)
        store.set({ plan: tidy(plan), previewing: false, resolutions: {}, defaultResolution: 'skip' })
    } catch (error) {
      if (mine === sequence) store.set({ previewing: false, planError: /** @type {ApiError} */ (error) })
    }
  }

  return {
    ...store,
    load,
    preview,

    /** Back to the list of apps. */
    leavePlan() {
      sequence += 1
      store.set({ plan: null, planError: null, previewOf: null, previewing: false, applyError: null, jobId: null })
    },

    /** @param {string} target @param {Resolution} resolution */
    resolve: (target, resolution) => store.set({ resolutions: { ...store.get().resolutions, [target]: resolution } }),

    /** One choice for all; single choices made before give way. @param {Resolution} resolution */
    resolveAll: (resolution) => store.set({ defaultResolution: resolution, resolutions: {} }),

    async apply() {
      const { plan, resolutions, defaultResolution } = store.get()
      if (!plan) return
      store.set({ applying: true, applyError: null })
      try {
        const { job } = await api.post('/mappings/apply', {
          plan_id: plan.plan_id,
          resolutions,
          default_resolution: defaultResolution
        })
        store.set({ applying: false, jobId: job.id })
        started(job)
      } catch (error) {
        store.set({ applying: false, applyError: /** @type {ApiError} */ (error) })
      }
    }
  }
}

/** @typedef {ReturnType<typeof createLinks>} Links */
