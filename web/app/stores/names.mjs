import { modelPath, query } from '../api.mjs'
import { baseName } from '../text.mjs'

/** @import { Api } from '../api.mjs' */
/** @import { ModelRecord, NamedModel } from '../types.mjs' */

/** How many nearest names are offered. */
const NEAREST = 3

/** @typedef {{state: 'found', model: NamedModel} | {state: 'missing', nearest: NamedModel[]} | {state: 'unreachable'}} Known */

/** What a node writes down of its model. @param {ModelRecord} record @returns {NamedModel} */
export function namedModel(record) {
  const files = record.files ?? []
  const [file] = files
  return {
    model_id: record.model_id,
    name: record.official_name || record.file_name || record.model_id,
    file: baseName(file?.original_name || file?.name || record.file_name || ''),
    subtype: record.subtype ?? '',
    url: files.length === 1 && /^https:\/\//i.test(record.download_url ?? '') ? /** @type {string} */ (record.download_url) : '',
    sha256: file?.sha256 || record.hashes?.['sha256'] || ''
  }
}

/**
 * Which models the values in nodes mean. A node takes a model's id, its hash or its file's name.
 * @param {Api} api
 */
export function createNames(api) {
  /** @type {Map<string, Promise<Known>>} */
  const asked = new Map()
  /** @type {Map<string, Known>} */
  const known = new Map()
  /** @type {Set<() => void>} */
  const listeners = new Set()

  /** @param {string} value @param {string[]} subtypes @returns {Promise<Known>} */
  async function find(value, subtypes) {
    // Not by its address: what is not there would be an error in the browser's console.
    const isHash = /^[0-9a-f]{64}$/i.test(value)
    const reference = { folder: subtypes[0] ?? '', name: value, ...(isHash ? { sha256: value } : {}) }
    const { results } = await api.post('/resolve', { references: [reference] })
    const [result] = results
    if (result.model_id) return { state: 'found', model: namedModel(await api.get(modelPath(result.model_id))) }
    const near = result.candidates.length > 0 ? result.candidates : await search(value, subtypes)
    return { state: 'missing', nearest: near.slice(0, NEAREST).map(namedModel) }
  }

  /** An id ends in the file's name and perhaps eight digits. @param {string} value @param {string[]} subtypes */
  async function search(value, subtypes) {
    const q = baseName(value).replace(/-[0-9a-f]{8}$/i, '').replace(/\.\w{2,11}$/, '')
    return (await api.get(`/models${query({ q, subtype: subtypes, limit: NEAREST })}`)).models
  }

  return {
    /** What has been found out already. @param {string} value */
    peek: (value) => known.get(value),

    /** @param {string} value @param {string[]} subtypes what fits @returns {Promise<Known>} never rejects */
    ask(value, subtypes) {
      const before = asked.get(value)
      if (before) return before
      const answer = find(value, subtypes).then(
        (found) => {
          if (asked.get(value) === answer) known.set(value, found)
          return found
        },
        () => {
          // Nobody answered: ask again next time.
          if (asked.get(value) === answer) asked.delete(value)
          return /** @type {Known} */ ({ state: 'unreachable' })
        }
      )
      asked.set(value, answer)
      return answer
    },

    /** The library changed: names may have, and models may have come or gone. */
    forget() {
      asked.clear()
      known.clear()
      for (const listener of [...listeners]) listener()
    },

    /** @param {() => void} listener @returns {() => void} */
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
}

/** @typedef {ReturnType<typeof createNames>} Names */
