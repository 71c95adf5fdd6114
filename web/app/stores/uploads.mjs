import { ApiError } from '../api.mjs'
import { createStore } from '../store.mjs'

/** @import { Api } from '../api.mjs' */
/** @import { ChosenFile } from '../dropped-files.mjs' */
/** @import { DetailedError, HttpStack, Upload as TusUpload } from '../../vendor/tus/browser/index.mjs' */

/**
 * @typedef {object} Upload A file on its way from the browser.
 * @property {string} key
 * @property {string} name with `/` where it came in folders
 * @property {number} size bytes
 * @property {number} sent bytes
 * @property {'waiting' | 'sending' | 'paused' | 'done' | 'failed'} state
 * @property {string} id as the server calls it; empty until it does
 * @property {ApiError | null} error why it failed
 */

/** Files that are sent at once. */
const AT_ONCE = 2
/** Bytes of one request: few enough that a server which refuses in the middle still gets its answer through. */
const CHUNK = 128 * 1024 * 1024
/** Milliseconds before each attempt after something went wrong; anew whenever bytes get through. */
const RETRIES = [0, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 30_000]

/** The tus client is loaded when there is something to upload. */
const loadTus = () => import('../../vendor/tus/browser/index.mjs')

/** Trying again may help: nobody answered, the server is in trouble, or it is still busy with the last attempt.
 * @param {DetailedError} error */
function mayPass({ originalResponse }) {
  const status = originalResponse?.getStatus() ?? 0
  if (status === 507) return false
  if (status === 409) return problemOf(originalResponse?.getBody())?.code === 'upload_offset'
  return status === 0 || status >= 500 || status === 408 || status === 423
}

/** @param {string | undefined} body @returns {any} */
function problemOf(body) {
  try {
    return JSON.parse(body ?? '')
  } catch {
    return null
  }
}

/** What ended an upload, as any other call would say it. @param {any} error @param {File} file */
async function apiErrorOf(error, file) {
  const response = /** @type {DetailedError} */ (error).originalResponse
  const status = response?.getStatus() ?? 0
  const problem = problemOf(response?.getBody())
  if (problem?.code) return new ApiError({ ...problem, status })
  if (status) return new ApiError({ status, code: [502, 504].includes(status) ? 'unreachable' : `http_${status}` })
  try {
    await file.slice(0, 1).arrayBuffer()
  } catch (reason) {
    return new ApiError({ status: 0, code: 'source_changed', detail: /** @type {Error} */ (reason).message })
  }
  return new ApiError({ status: 0, code: 'unreachable' })
}

/** The last part of an address. @param {string | null} url */
const idOf = (url) => url?.split('?')[0]?.split('/').pop() ?? ''

/**
 * Files that go to the server: a few at a time, on through lost connections and restarts of the server. One that
 * is dropped again, also after the page was loaded anew, goes on where it stood.
 * @param {Api} api
 * @param {{httpStack?: HttpStack, retryDelays?: number[]}} [options] for tests
 */
export function createUploads(api, { httpStack, retryDelays = RETRIES } = {}) {
  const store = createStore(/** @type {{uploads: Upload[]}} */ ({ uploads: [] }))
  /** @type {Map<string, {file: File, tus: TusUpload | null, url: string | null}>} */
  const sources = new Map()
  const endpoint = new URL(api.url('/uploads'), document.baseURI).href

  /** @param {string} key */
  const find = (key) => store.get().uploads.find((upload) => upload.key === key)

  /** @param {string} key @param {Partial<Upload>} patch */
  function update(key, patch) {
    if (!find(key)) return
    store.set({ uploads: store.get().uploads.map((upload) => (upload.key === key ? { ...upload, ...patch } : upload)) })
  }

  /** Start what waits, as long as there is room. */
  function next() {
    const { uploads } = store.get()
    const free = AT_ONCE - uploads.filter(({ state }) => state === 'sending').length
    for (const { key } of uploads.filter(({ state }) => state === 'waiting').slice(0, Math.max(0, free))) void send(key)
  }

  /** @param {string} key @param {Partial<Upload>} patch */
  function stop(key, patch) {
    update(key, patch)
    next()
  }

  /** @param {string} key */
  async function send(key) {
    update(key, { state: 'sending', error: null })
    const source = sources.get(key)
    if (!source) return
    try {
      source.tus ??= await prepare(key, source.file, source.url)
      // It may have been paused or cancelled meanwhile.
      if (find(key)?.state === 'sending') source.tus.start()
    } catch (error) {
      stop(key, { state: 'failed', error: await apiErrorOf(error, source.file) })
    }
  }

  /** @param {string} key @param {File} file @param {string | null} url if it is known to the server */
  async function prepare(key, file, url) {
    const { Upload } = await loadTus()
    const name = find(key)?.name ?? file.name
    const tus = new Upload(file, {
      endpoint,
      chunkSize: CHUNK,
      retryDelays,
      metadata: { filename: file.name, filetype: file.type, relativePath: name },
      fingerprint: async () => key,
      onShouldRetry: mayPass,
      ...(httpStack ? { httpStack } : {}),
      onUploadUrlAvailable() {
        // By its id, since a proxy may have changed what is in front of it.
        const id = idOf(tus.url)
        tus.url = `${endpoint}/${id}`
        update(key, { id })
      },
      onProgress: (sent) => update(key, { sent }),
      onSuccess: () => stop(key, { state: 'done', sent: file.size, id: idOf(tus.url) }),
      onError: (error) => void apiErrorOf(error, file).then((why) => stop(key, { state: 'failed', error: why }))
    })
    if (url) tus.url = url
    const earlier = url ? [] : await tus.findPreviousUploads()
    const latest = earlier.sort((one, other) => Date.parse(other.creationTime) - Date.parse(one.creationTime))[0]
    if (latest) tus.resumeFromPreviousUpload(latest)
    return tus
  }

  /** Nobody will go on with it after the page is loaded anew. @param {string} key */
  async function forgetAddress(key) {
    const { defaultOptions } = await loadTus()
    for (const { urlStorageKey } of await defaultOptions.urlStorage.findUploadsByFingerprint(key)) {
      await defaultOptions.urlStorage.removeUpload(urlStorageKey)
    }
  }

  /** @param {string} key */
  function drop(key) {
    store.set({ uploads: store.get().uploads.filter((upload) => upload.key !== key) })
    sources.delete(key)
  }

  const uploads = {
    ...store,

    /**
     * Queue files. One that is listed already is not listed twice; if it had failed or stood still, it goes on.
     * @param {ChosenFile[]} files
     * @returns {string[]} their keys
     */
    add(files) {
      /** @type {Upload[]} */
      const added = []
      const keys = files.map(({ file, path }) => {
        const key = ['librarian', endpoint, path, file.size, file.lastModified].join('|')
        if (find(key)) uploads.retry(key)
        else if (!sources.has(key)) {
          sources.set(key, { file, tus: null, url: null })
          added.push({ key, name: path, size: file.size, sent: 0, state: 'waiting', id: '', error: null })
        }
        return key
      })
      store.set({ uploads: [...store.get().uploads, ...added] })
      next()
      return keys
    },

    /** What has come stays on the server. @param {string} key */
    pause(key) {
      if (!['waiting', 'sending'].includes(find(key)?.state ?? '')) return
      void sources.get(key)?.tus?.abort()
      stop(key, { state: 'paused' })
    },

    /** Send on what was paused or failed. @param {string} key */
    retry(key) {
      const source = sources.get(key)
      if (!source || !['paused', 'failed'].includes(find(key)?.state ?? '')) return
      // A new one, since this has used up its attempts.
      sources.set(key, { ...source, tus: null, url: source.tus?.url ?? source.url })
      stop(key, { state: 'waiting', error: null })
    },

    /** End it and take it from the list; the server removes what has come. @param {string} key */
    cancel(key) {
      const tus = sources.get(key)?.tus
      drop(key)
      next()
      // What cannot be removed now, the server removes in time.
      void tus?.abort(true).catch(() => {})
      void forgetAddress(key)
    },

    /** Take those from the list that an import has taken over. @param {string[]} ids */
    forget(ids) {
      for (const { key } of store.get().uploads.filter(({ id }) => id && ids.includes(id))) {
        drop(key)
        void forgetAddress(key)
      }
    }
  }
  return uploads
}

/** @typedef {ReturnType<typeof createUploads>} Uploads */
