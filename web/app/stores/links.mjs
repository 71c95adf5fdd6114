import { createStore } from '../store.mjs'
import { hasEnded } from './jobs.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job, Plan } from '../types.mjs' */

/** @typedef {'skip' | 'overwrite' | 'rename'} Resolution */
/** @typedef {'apps' | 'add' | 'health' | 'move' | 'mapping'} LinksPage */

/**
 * @typedef {object} LinksState
 * @property {LinksPage} page what is shown while nothing is previewed
 * @property {string | null} previewOf the app planned for; empty for all
 * @property {boolean} previewing
 * @property {Plan | null} plan
 * @property {ApiError | null} planError
 * @property {boolean} stale whether the plan was made anew because the one before did not fit any more
 * @property {Record<string, Resolution>} resolutions by target, where it differs from the default
 * @property {Resolution} defaultResolution
 * @property {boolean} applying
 * @property {ApiError | null} applyError
 * @property {string | null} jobId
 */

/** A plan that does not fit the world any more, or that the server has forgotten. */
const STALE = new Set(['plan_changed', 'not_found'])

/**
 * What an apply will do, in numbers, after the person's choices.
 * @param {Plan} plan
 * @param {Record<string, Resolution>} resolutions
 * @param {Resolution} defaultResolution
 */
export function consequences(plan, resolutions, defaultResolution) {
  const will = { created: plan.to_create.length, replaced: 0, freed: 0, overwritten: 0, relinked: 0, renamed: 0, skipped: 0 }
  for (const { target, reason, size_bytes } of plan.conflicts) {
    const resolution = resolutions[target] ?? defaultResolution
    if (resolution === 'skip') will.skipped += 1
    else if (resolution === 'rename') will.renamed += 1
    else if (reason === 'linked_to_different_source') will.relinked += 1
    else if (reason === 'same_bytes') {
      will.replaced += 1
      will.freed += size_bytes ?? 0
    } else will.overwritten += 1
  }
  const removed = plan.broken_to_remove.length + plan.orphaned_to_remove.length
  const resolved = plan.conflicts.length - will.skipped
  return { ...will, removed, created: will.created + resolved, total: will.created + resolved + removed }
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
 * @param {(job: Job) => Job} started takes a job, and answers how it stands by now
 */
export function createLinks(api, started) {
  const store = createStore(
    /** @type {LinksState} */ ({
      page: 'apps',
      previewOf: null,
      previewing: false,
      plan: null,
      planError: null,
      stale: false,
      resolutions: {},
      defaultResolution: 'skip',
      applying: false,
      applyError: null,
      jobId: null
    })
  )
  let sequence = 0

  /** @param {string} app empty for all */
  async function preview(app) {
    const mine = ++sequence
    store.set({
      previewOf: app, previewing: true, plan: null, planError: null, applyError: null, jobId: null, stale: false,
      resolutions: {}, defaultResolution: 'skip'
    })
    await ask(mine, app)
  }

  /** The world is another one than that of the plan: plan anew, with the choices that still apply. */
  async function previewAgain() {
    const mine = ++sequence
    store.set({ previewing: true, plan: null, planError: null, applyError: null, applying: false, jobId: null, stale: true })
    await ask(mine, store.get().previewOf ?? '')
  }

  /** @param {number} mine @param {string} app */
  async function ask(mine, app) {
    try {
      const plan = tidy(await api.post('/mappings/preview', app ? { app } : {}))
      if (mine !== sequence) return
      const { resolutions } = store.get()
      const kept = plan.conflicts.flatMap(({ target }) => (resolutions[target] ? [[target, resolutions[target]]] : []))
      store.set({ plan, previewing: false, resolutions: Object.fromEntries(kept) })
    } catch (error) {
      if (mine === sequence) store.set({ previewing: false, planError: /** @type {ApiError} */ (error) })
    }
  }

  /** A job has ended; a sync that found another world has changed nothing. @param {Job} job */
  function ended(job) {
    if (job.id === store.get().jobId && job.state === 'failed' && STALE.has(job.error?.code)) void previewAgain()
  }

  return {
    ...store,
    preview,
    ended,

    /** @param {LinksPage} page */
    open: (page) => store.set({ page }),

    /** Back to what was shown before the plan. */
    leavePlan() {
      sequence += 1
      store.set({ plan: null, planError: null, previewOf: null, previewing: false, applyError: null, jobId: null, stale: false })
    },

    /** @param {string} target @param {Resolution} resolution */
    resolve: (target, resolution) => store.set({ resolutions: { ...store.get().resolutions, [target]: resolution } }),

    /** One choice for all; single choices made before give way. @param {Resolution} resolution */
    resolveAll: (resolution) => store.set({ defaultResolution: resolution, resolutions: {} }),

    /** Links in the place of all copies of the same bytes; nothing else is decided by it. */
    replaceCopies() {
      const { plan, resolutions } = store.get()
      const copies = (plan?.conflicts ?? []).filter(({ reason }) => reason === 'same_bytes')
      store.set({ resolutions: { ...resolutions, ...Object.fromEntries(copies.map(({ target }) => [target, 'overwrite'])) } })
    },

    async apply() {
      const { plan, resolutions, defaultResolution } = store.get()
      if (!plan) return
      store.set({ applying: true, applyError: null })
      try {
        const { job } = await api.post('/mappings/apply', { plan_id: plan.plan_id, resolutions, default_resolution: defaultResolution })
        store.set({ applying: false, jobId: job.id })
        const now = started(job)
        if (hasEnded(now)) ended(now)
      } catch (error) {
        const failed = /** @type {ApiError} */ (error)
        if (STALE.has(failed.code)) await previewAgain()
        else store.set({ applying: false, applyError: failed })
      }
    }
  }
}

/** @typedef {ReturnType<typeof createLinks>} Links */
