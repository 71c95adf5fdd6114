import { createStore } from '../store.mjs'
import { parsePaths } from '../text.mjs'
import { query } from '../api.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Folder, InspectGroup, Job } from '../types.mjs' */

/**
 * @typedef {object} Draft One group of files, as the person wants it imported.
 * @property {string} key
 * @property {InspectGroup} group
 * @property {string[]} paths
 * @property {number} size bytes
 * @property {boolean} include
 * @property {boolean} acknowledged that this is a pickle
 * @property {Record<string, string>} metadata what the person may change
 */

/**
 * @typedef {object} ImportState
 * @property {'choose' | 'describe' | 'running'} step
 * @property {string} text the path field
 * @property {boolean} inspecting
 * @property {ApiError | null} inspectError
 * @property {Draft[]} drafts
 * @property {'copy' | 'move'} mode
 * @property {boolean} link link into the apps afterwards
 * @property {boolean} starting
 * @property {ApiError | null} startError
 * @property {string | null} jobId
 * @property {boolean} seen whether the end of the job was looked at
 * @property {Folder | null} folder the folder being browsed
 * @property {string | null} browsing its path, `null` when the browser is closed
 * @property {boolean} browseLoading
 * @property {ApiError | null} browseError
 * @property {string[]} picked paths ticked in the browser
 */

/** What of a guess the person may change before the import. */
export const EDITABLE = /** @type {const} */ (['official_name', 'subtype', 'family', 'base_model'])

/** @param {Draft} draft */
export const isImportable = ({ group }) => group.importable !== false
/** @param {Draft} draft */
export const needsYes = (draft) => draft.group.security_tier === 'pickle' && !draft.acknowledged

/** Why the import cannot begin, or null. @param {ImportState} state @returns {null | 'nothing' | 'pickle'} */
export function blockedBy({ drafts }) {
  const chosen = drafts.filter((draft) => draft.include)
  if (chosen.length === 0) return 'nothing'
  return chosen.some(needsYes) ? 'pickle' : null
}

/** @param {InspectGroup} group @param {number} at @returns {Draft} */
function draftOf(group, at) {
  const files = group.files.map((file) => (typeof file === 'string' ? { path: file } : file))
  const paths = files.map((file) => file.path ?? file.name ?? '').filter(Boolean)
  /** @type {Record<string, string>} */
  const metadata = { official_name: group.name }
  for (const field of EDITABLE) {
    const guessed = group.guess?.[field]
    // A family that is not known is a question to the person, not an answer.
    if (typeof guessed === 'string' && guessed && !(guessed === 'unknown' && field !== 'subtype')) metadata[field] = guessed
  }
  return {
    key: `${at}:${paths[0] ?? group.name}`,
    group,
    paths,
    size: group.size_bytes ?? files.reduce((sum, file) => sum + (file.size ?? 0), 0),
    include: group.importable !== false && !group.duplicate_of && group.complete !== false,
    acknowledged: false,
    metadata
  }
}

/**
 * @param {Api} api
 * @param {(job: Job) => void} started
 */
export function createImports(api, started) {
  const store = createStore(
    /** @type {ImportState} */ ({
      step: 'choose',
      text: '',
      inspecting: false,
      inspectError: null,
      drafts: [],
      mode: 'copy',
      link: true,
      starting: false,
      startError: null,
      jobId: null,
      seen: true,
      folder: null,
      browsing: null,
      browseLoading: false,
      browseError: null,
      picked: []
    })
  )
  let browseSequence = 0

  /** @param {string} path empty for the list of allowed roots */
  async function browse(path) {
    const mine = ++browseSequence
    store.set({ browsing: path, browseLoading: true, browseError: null })
    try {
      const folder = await api.get(`/browse${query({ path })}`)
      if (mine === browseSequence) store.set({ folder, browseLoading: false })
    } catch (error) {
      if (mine === browseSequence) store.set({ browseLoading: false, browseError: /** @type {ApiError} */ (error) })
    }
  }

  /** @param {string} key @param {(draft: Draft) => Partial<Draft>} change */
  function update(key, change) {
    store.set({
      drafts: store.get().drafts.map((draft) => (draft.key === key ? { ...draft, ...change(draft) } : draft)),
      startError: null
    })
  }

  return {
    ...store,
    browse,

    /** @param {string} text */
    setText: (text) => store.set({ text, inspectError: null }),

    closeBrowser() {
      browseSequence += 1
      store.set({ browsing: null, browseLoading: false, browseError: null, picked: [] })
    },

    /** @param {string} path */
    togglePick(path) {
      const { picked } = store.get()
      store.set({ picked: picked.includes(path) ? picked.filter((other) => other !== path) : [...picked, path] })
    },

    /** Put what was ticked in the browser into the path field. */
    takePicked() {
      const { text, picked } = store.get()
      browseSequence += 1
      store.set({
        text: [...new Set([...parsePaths(text), ...picked])].join('\n'),
        picked: [],
        browsing: null,
        inspectError: null
      })
    },

    async inspect() {
      const paths = parsePaths(store.get().text)
      if (paths.length === 0 || store.get().inspecting) return
      store.set({ inspecting: true, inspectError: null })
      try {
        const answer = await api.post('/inspect', { paths })
        store.set({
          inspecting: false,
          drafts: answer.groups.map(draftOf),
          step: 'describe',
          startError: null
        })
      } catch (error) {
        store.set({ inspecting: false, inspectError: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {string} key @param {boolean} include */
    include: (key, include) => update(key, () => ({ include })),
    /** @param {string} key @param {boolean} acknowledged */
    acknowledge: (key, acknowledged) => update(key, () => ({ acknowledged })),
    /** @param {string} key @param {string} field @param {string} value */
    describe: (key, field, value) => update(key, ({ metadata }) => ({ metadata: { ...metadata, [field]: value } })),
    /** @param {'copy' | 'move'} mode */
    setMode: (mode) => store.set({ mode }),
    /** @param {boolean} link */
    setLink: (link) => store.set({ link }),

    async start() {
      const state = store.get()
      if (blockedBy(state) || state.starting) return
      store.set({ starting: true, startError: null })
      try {
        const items = state.drafts
          .filter((draft) => draft.include)
          .map((draft) => ({
            paths: draft.paths,
            mode: state.mode,
            metadata: Object.fromEntries(Object.entries(draft.metadata).filter(([, value]) => value.trim() !== '')),
            acknowledge_pickle: draft.acknowledged
          }))
        const { job } = await api.post('/imports', { items, link: state.link })
        store.set({ starting: false, step: 'running', jobId: job.id, seen: false })
        started(job)
      } catch (error) {
        store.set({ starting: false, startError: /** @type {ApiError} */ (error) })
      }
    },

    back: () => store.set({ step: 'choose', startError: null }),
    markSeen: () => store.set({ seen: true }),

    /** Begin anew. */
    reset() {
      store.set({ step: 'choose', text: '', drafts: [], jobId: null, seen: true, inspectError: null, startError: null })
    }
  }
}

/** @typedef {ReturnType<typeof createImports>} Imports */
