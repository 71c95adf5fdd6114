/** @import { Host, Said } from './types.mjs' */

/** A request that did not succeed, in words that can be shown (RFC 9457 `title`, `detail`, `code`). */
export class ApiError extends Error {
  /**
   * @param {{status: number, code: string, title?: string, detail?: string, said?: Said | null, fields?: {field: string, message: string}[]}} problem
   */
  constructor({ status, code, title = '', detail = '', said = null, fields = [] }) {
    super(detail || title || code)
    this.name = 'ApiError'
    /** 0 when there was no answer at all. */
    this.status = status
    this.code = code
    this.title = title
    this.detail = detail
    /** The detail as code and parameters, where the server has them. */
    this.said = said
    /** What is wrong with which field, where the server says so. */
    this.fields = fields
  }

  /** Nobody answered: the server is gone, not the request wrong. */
  get unreachable() {
    return this.code === 'unreachable'
  }
}

/** @param {unknown} error */
export const isAbort = (error) => /** @type {any} */ (error)?.name === 'AbortError'

/** A model id contains slashes that are part of the path; everything else in it is escaped.
 * @param {string} modelId */
export const modelPath = (modelId) => `/models/${modelId.split('/').map(encodeURIComponent).join('/')}`

/** `?a=1&b=2&b=3` of what is set; empty values are left out.
 * @param {Record<string, string | number | null | undefined | string[]>} values */
export function query(values) {
  const params = new URLSearchParams()
  for (const [key, value] of Object.entries(values)) {
    if (Array.isArray(value)) for (const one of value) params.append(key, one)
    else if (value !== undefined && value !== null && value !== '') params.set(key, String(value))
  }
  const text = params.toString()
  return text ? `?${text}` : ''
}

/** @param {Response} response */
async function problemOf(response) {
  /** @type {any} */
  let body = null
  try {
    body = await response.json()
  } catch {
    // Not ours: a proxy's page, or ComfyUI without the package.
  }
  return new ApiError({
    status: response.status,
    code: typeof body?.code === 'string' ? body.code : `http_${response.status}`,
    title: typeof body?.title === 'string' ? body.title : '',
    detail: typeof body?.detail === 'string' ? body.detail : '',
    said: body?.said ?? null,
    fields: Array.isArray(body?.fields) ? body.fields : []
  })
}

/** Milliseconds after which silence counts as no answer; longer work is a job. */
const PATIENCE = 60_000

/** @param {Host} host */
export function createApi(host) {
  /**
   * @param {string} method
   * @param {string} path below `/librarian`
   * @param {{body?: unknown, signal?: AbortSignal, patience?: number}} [options]
   * @returns {Promise<any>}
   */
  async function request(method, path, { body, signal, patience = PATIENCE } = {}) {
    const stop = new AbortController()
    const timer = setTimeout(() => stop.abort(), patience)
    const follow = () => stop.abort()
    signal?.addEventListener('abort', follow)
    try {
      return await send(method, path, body, stop.signal)
    } catch (error) {
      if (isAbort(error) && !signal?.aborted) throw new ApiError({ status: 0, code: 'unreachable' })
      throw error
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', follow)
    }
  }

  /** @param {string} method @param {string} path @param {unknown} body @param {AbortSignal} signal */
  async function send(method, path, body, signal) {
    /** @type {RequestInit} */
    const init = { method, signal }
    if (method !== 'GET' && method !== 'DELETE') {
      init.headers = { 'Content-Type': 'application/json' }
      init.body = JSON.stringify(body ?? {})
    }
    /** @type {Response} */
    let response
    try {
      response = await host.fetch(`/librarian${path}`, init)
    } catch (error) {
      if (isAbort(error)) throw error
      throw new ApiError({ status: 0, code: 'unreachable' })
    }
    // What a reverse proxy says when nobody is behind it.
    if (response.status === 502 || response.status === 504) {
      throw new ApiError({ status: response.status, code: 'unreachable' })
    }
    if (!response.ok) throw await problemOf(response)
    if (response.status === 204) return null
    try {
      return await response.json()
    } catch (error) {
      if (isAbort(error)) throw error
      throw new ApiError({ status: response.status, code: 'not_json' })
    }
  }

  return {
    /** @param {string} path @param {{signal?: AbortSignal, patience?: number}} [options] */
    get: (path, options) => request('GET', path, options),
    /** @param {string} path @param {unknown} [body] */
    post: (path, body) => request('POST', path, { body }),
    /** @param {string} path @param {unknown} body */
    put: (path, body) => request('PUT', path, { body }),
    /** @param {string} path @param {unknown} body */
    patch: (path, body) => request('PATCH', path, { body }),
    /** @param {string} path */
    delete: (path) => request('DELETE', path),
    /** The address of a call, for what does not go through here. @param {string} path */
    url: (path) => host.url(`librarian${path}`)
  }
}

/** @typedef {ReturnType<typeof createApi>} Api */
