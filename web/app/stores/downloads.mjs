import { createStore, newestOf } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Download, DownloadRequest, Job } from '../types.mjs' */

/** Milliseconds between two looks while somebody watches, and to gather news of jobs in. */
const LOOK = 1000

/** Nothing moves any more without the person. @param {Download} download */
export const isResting = ({ state }) => state === 'paused' || state === 'done' || state === 'failed'

/**
 * @typedef {object} DownloadsState
 * @property {Download[]} downloads newest first
 * @property {number} receivedAt when they were told, in ms; seconds left count down from here
 * @property {ApiError | null} error
 * @property {Record<string, string>} busy what was asked of each and is not answered yet
 */

/**
 * Files that come from the hosts. They outlive this page and the server; a job works on each.
 * @param {Api} api
 * @param {{started: (job: Job) => void, failed: (error: ApiError) => void}} tell
 */
export function createDownloads(api, tell) {
  const store = createStore(/** @type {DownloadsState} */ ({ downloads: [], receivedAt: 0, error: null, busy: {} }))
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  let watchers = 0

  const load = newestOf(async (isNewest) => {
    clearTimeout(timer)
    timer = undefined
    try {
      const answer = await api.get('/downloads')
      if (!isNewest()) return
      const downloads = /** @type {Download[]} */ ([...(answer.downloads ?? [])])
      downloads.sort((one, other) => (other.created_at ?? '').localeCompare(one.created_at ?? ''))
      store.set({ downloads, receivedAt: Date.now(), error: null })
    } catch (error) {
      if (!isNewest()) return
      store.set({ error: /** @type {ApiError} */ (error) })
    }
    if (watchers > 0 && !store.get().downloads.every(isResting)) soon()
  })

  function soon() {
    timer ??= setTimeout(load, LOOK)
  }

  /** @param {string} id @param {string} action @param {() => Promise<unknown>} call */
  async function act(id, action, call) {
    store.set({ busy: { ...store.get().busy, [id]: action } })
    try {
      await call()
    } catch (error) {
      tell.failed(/** @type {ApiError} */ (error))
    }
    await load()
    const busy = { ...store.get().busy }
    delete busy[id]
    store.set({ busy })
  }

  /** @param {string} id */
  const path = (id) => `/downloads/${encodeURIComponent(id)}`

  return {
    ...store,
    load,

    /** Somebody looks: keep it fresh. @returns {() => void} the end of it */
    watch() {
      watchers += 1
      void load()
      return () => {
        watchers -= 1
        if (watchers > 0) return
        clearTimeout(timer)
        timer = undefined
      }
    },

    /** A job moved or ended. @param {Job} job */
    jobChanged(job) {
      if (job.kind === 'download') soon()
    },

    /** @param {DownloadRequest} request @returns {Promise<Download>} */
    async start(request) {
      const { job, download } = await api.post('/downloads', request)
      if (job) tell.started(job)
      await load()
      return download
    },

    /** @param {string} id */
    pause: (id) => act(id, 'pause', () => api.post(`${path(id)}/pause`)),
    /** Go on with what is paused, failed or waits. @param {string} id @param {boolean} [acknowledged] that it can run code */
    resume: (id, acknowledged = false) => act(id, 'resume', () => api.post(`${path(id)}/resume`, acknowledged ? { acknowledge_pickle: true } : {})),
    /** Throw away what came wrong; the download stays. @param {string} id */
    removeAside: (id) => act(id, 'aside', () => api.delete(`${path(id)}/aside`)),
    /** Cancel it, or take what has ended off the list; models that came of it stay. @param {string} id */
    remove: (id) => act(id, 'remove', () => api.delete(path(id)))
  }
}

/** @typedef {ReturnType<typeof createDownloads>} Downloads */
