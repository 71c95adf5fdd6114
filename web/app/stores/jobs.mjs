import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Job } from '../types.mjs' */

/** Milliseconds between two looks at a running job, should no event arrive. */
const POLL = 2000
/** Ended jobs that are listed. */
const KEPT = 30

/** @param {Job} job */
export const hasEnded = (job) => job.state !== 'queued' && job.state !== 'running'

/**
 * @typedef {object} JobsState
 * @property {Job[]} jobs newest first
 * @property {boolean} loaded
 * @property {ApiError | null} error
 */

/**
 * Work that outlives a request. Events bring the news; a slow look at what runs makes sure that a
 * lost event never leaves a progress bar standing.
 * @param {Api} api
 * @param {(job: Job, ours: boolean) => void} onEnd called once for each job that this panel saw
 *   ending; `ours` are those it started
 */
export function createJobs(api, onEnd) {
  const store = createStore(/** @type {JobsState} */ ({ jobs: [], loaded: false, error: null }))
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** When each job was last heard of. @type {Map<string, number>} */
  const heard = new Map()
  /** Jobs that were seen while they ran. @type {Set<string>} */
  const seenRunning = new Set()

  /** Jobs that this panel started. @type {Set<string>} */
  const ours = new Set()
  /** Jobs whose end was told. @type {Set<string>} */
  const told = new Set()

  /** @param {Job} job */
  function take(job) {
    const known = store.get().jobs
    const before = known.find(({ id }) => id === job.id)
    // Events may overtake an answer: a job that has ended does not run again.
    if (before && hasEnded(before) && !hasEnded(job)) return
    heard.set(job.id, Date.now())
    const jobs = before ? known.map((other) => (other.id === job.id ? job : other)) : [job, ...known]
    const ended = jobs.filter(hasEnded).slice(0, KEPT)
    store.set({ jobs: jobs.filter((other) => !hasEnded(other) || ended.includes(other)) })
    if (!hasEnded(job)) {
      seenRunning.add(job.id)
      watch()
    } else if (seenRunning.delete(job.id)) {
      heard.delete(job.id)
      told.add(job.id)
      onEnd(job, ours.delete(job.id))
    }
  }

  function watch() {
    if (timer) return
    timer = setTimeout(async () => {
      timer = undefined
      const running = store.get().jobs.filter((job) => !hasEnded(job))
      const silent = running.filter((job) => Date.now() - (heard.get(job.id) ?? 0) >= POLL)
      await Promise.all(
        silent.map(async ({ id }) => {
          try {
            take(await api.get(`/jobs/${encodeURIComponent(id)}`))
          } catch (error) {
            // Forgotten by a restarted server: it will not end any more.
            const gone = /** @type {ApiError} */ (error).status === 404
            const job = store.get().jobs.find((other) => other.id === id)
            if (gone && job) take({ ...job, state: 'interrupted' })
          }
        })
      )
      if (store.get().jobs.some((job) => !hasEnded(job))) watch()
    }, POLL)
  }

  return {
    ...store,
    take,

    /** A job that this panel has just started. @param {Job} job @returns {Job} how it stands by now */
    started(job) {
      // It may be over before its answer was read; then its end is still news to the panel, but only once.
      const known = store.get().jobs.find(({ id }) => id === job.id)
      const now = known && hasEnded(known) ? known : job
      if (!told.has(job.id)) {
        seenRunning.add(job.id)
        ours.add(job.id)
        take(now)
      }
      return now
    },

    async load() {
      try {
        const answer = await api.get('/jobs')
        for (const job of [...(answer.jobs ?? [])].reverse()) take(job)
        store.set({ loaded: true, error: null })
      } catch (error) {
        store.set({ error: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {string} id */
    async cancel(id) {
      const answer = await api.post(`/jobs/${encodeURIComponent(id)}/cancel`)
      const job = answer?.job ?? answer
      if (job?.id) take(job)
    },

    /** @param {string | null | undefined} id */
    find: (id) => store.get().jobs.find((job) => job.id === id) ?? null
  }
}

/** @typedef {ReturnType<typeof createJobs>} Jobs */
