import { query } from '../api.mjs'
import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Candidate, Download, DownloadRequest, RemoteFile } from '../types.mjs' */

/** @typedef {{loading: boolean, files: RemoteFile[] | null, error: ApiError | null}} Listing The files of a match's repository. */

/**
 * @typedef {object} RelatedState
 * @property {Record<string, Listing>} listings by match
 * @property {Record<string, string>} started by match and file, the id of the download that was asked for here
 * @property {Record<string, boolean>} starting
 * @property {Record<string, ApiError>} refused why a download did not even begin
 */

/** @param {Candidate} candidate */
export const matchKey = ({ provider, repo_id, revision }) => `${provider}/${repo_id}@${revision ?? ''}`

/**
 * What belongs to a match and is not here yet: other parts of its set, a VAE, a config.
 * @param {Api} api
 * @param {(request: DownloadRequest) => Promise<Download>} download
 */
export function createRelated(api, download) {
  const store = createStore(/** @type {RelatedState} */ ({ listings: {}, started: {}, starting: {}, refused: {} }))

  /** @param {string} key @param {Listing} listing */
  const list = (key, listing) => store.set({ listings: { ...store.get().listings, [key]: listing } })

  return {
    ...store,

    /** @param {Candidate} candidate */
    async load(candidate) {
      const key = matchKey(candidate)
      const known = store.get().listings[key]
      if (known?.loading || known?.files) return
      list(key, { loading: true, files: null, error: null })
      const { provider, repo_id, revision } = candidate
      try {
        const { files } = await api.get(`/remote/files${query({ provider, repo_id, revision: revision || undefined })}`)
        list(key, { loading: false, files: files ?? [], error: null })
      } catch (error) {
        list(key, { loading: false, files: null, error: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {string} key @param {DownloadRequest} request */
    async take(key, request) {
      const refused = { ...store.get().refused }
      delete refused[key]
      store.set({ starting: { ...store.get().starting, [key]: true }, refused })
      try {
        const { id } = await download(request)
        store.set({ started: { ...store.get().started, [key]: id } })
      } catch (error) {
        store.set({ refused: { ...store.get().refused, [key]: /** @type {ApiError} */ (error) } })
      }
      store.set({ starting: { ...store.get().starting, [key]: false } })
    }
  }
}

/** @typedef {ReturnType<typeof createRelated>} Related */
