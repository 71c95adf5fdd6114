import { isAbort, query } from '../api.mjs'
import { groupFiles, onlyModel, remoteKey, toggled, wantedFiles } from '../remote-files.mjs'
import { createStore } from '../store.mjs'
import { fold } from '../text.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { DownloadRequest, RemoteModel, SourceProblem } from '../types.mjs' */
/** @import { Search } from './search.mjs' */
/** @import { SettingsStore } from './settings.mjs' */

/** Milliseconds after the local answer before the hosts are asked. */
export const REMOTE_DEBOUNCE = 500
/** Fewer letters find everything. */
const SHORTEST = 2
/** Models of each host. */
const LIMIT = 20
/** Milliseconds until another look at an answer that was stale; a fresh one that says the same comes without event. */
const LOOKS = [1500, 3000, 6000]
/** Milliseconds in which the hosts' news are one. */
const GATHER = 150

/**
 * @typedef {object} Chosen A repository that is open, and what of it is wanted.
 * @property {RemoteModel} model
 * @property {string[]} keys of the chosen groups of files
 * @property {boolean} acknowledged that what can run code was chosen on purpose
 * @property {boolean} link into the apps when it is here
 * @property {boolean} starting
 * @property {ApiError | null} error
 * @property {boolean} filesLoading
 */

/**
 * @typedef {object} RemoteState
 * @property {string} query what was asked; empty when nothing was
 * @property {string} offered what would be asked if the person said so; empty when nothing is to be said
 * @property {RemoteModel[]} models in the order in which they are shown
 * @property {boolean} loading the first answer is on its way
 * @property {boolean} refreshing what is shown is old, and newer is on its way
 * @property {boolean} cached
 * @property {boolean} stale
 * @property {boolean} offline
 * @property {string | null} fetchedAt
 * @property {SourceProblem[]} problems
 * @property {ApiError | null} error
 * @property {RemoteModel[] | null} fresh an answer that would move rows; shown when the person says so
 * @property {Chosen | null} open
 * @property {boolean} folded whether only the heading is shown
 */

/** @type {Omit<RemoteState, 'open' | 'folded'>} */
const NOTHING = {
  query: '',
  offered: '',
  models: [],
  loading: false,
  refreshing: false,
  cached: false,
  stale: false,
  offline: false,
  fetchedAt: null,
  problems: [],
  error: null,
  fresh: null
}

/**
 * The rows of before at their places, what is new below them; null when a row is gone.
 * @param {RemoteModel[]} shown @param {RemoteModel[]} fresh
 * @param {boolean} [partial] whether somebody did not answer: then nothing is gone
 */
export function mergeRemote(shown, fresh, partial = false) {
  const byKey = new Map(fresh.map((model) => [remoteKey(model), model]))
  if (!partial && shown.some((model) => !byKey.has(remoteKey(model)))) return null
  const here = new Set(shown.map(remoteKey))
  return [...shown.map((model) => byKey.get(remoteKey(model)) ?? model), ...fresh.filter((model) => !here.has(remoteKey(model)))]
}

/**
 * What the hosts have for the words in the search field. Words go to them when the person says so; by themselves,
 * after the library answered and the keys rested, only if that was switched on; never with the network switched off.
 * @param {Api} api
 * @param {{search: Search, settings: SettingsStore, download: (request: DownloadRequest) => Promise<unknown>}} parts
 */
export function createRemote(api, { search, settings, download }) {
  const store = createStore(/** @type {RemoteState} */ ({ ...NOTHING, open: null, folded: false }))
  /** What is wanted by now; asked or not. */
  let wanted = ''
  let sequence = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** @type {AbortController | null} */
  let running = null

  function drop() {
    clearTimeout(timer)
    sequence += 1
    running?.abort()
    store.set(NOTHING)
  }

  /** @returns {Promise<'never' | 'asked' | 'always'>} when words may be sent */
  async function permission() {
    if (!settings.get().settings) await settings.load()
    const { settings: known } = settings.get()
    if (known?.['online'] === false) return 'never'
    return known?.['remote_search'] === true ? 'always' : 'asked'
  }

  /** The words rest: ask for them, or offer to. */
  async function settle() {
    const q = wanted
    const when = await permission()
    if (q !== wanted || store.get().query === q) return
    if (when === 'always') void ask(0)
    else store.set({ ...NOTHING, offered: when === 'asked' ? q : '' })
  }

  /** @param {number} looks how often a stale answer was looked at again; the first question drops what is shown */
  async function ask(looks) {
    clearTimeout(timer)
    const mine = ++sequence
    running?.abort()
    running = new AbortController()
    if (looks === 0) store.set({ ...NOTHING, query: wanted, loading: true })
    try {
      const answer = await api.get(`/remote${query({ q: wanted, limit: LIMIT })}`, { signal: running.signal })
      if (mine === sequence) take(answer, looks)
    } catch (error) {
      if (mine !== sequence || isAbort(error)) return
      // What is shown stays; only who waits for the first answer is told.
      store.set(looks === 0 ? { loading: false, error: /** @type {ApiError} */ (error) } : { refreshing: false })
    }
  }

  /** @param {any} answer @param {number} looks */
  function take(answer, looks) {
    const { models } = store.get()
    const fresh = /** @type {RemoteModel[]} */ (answer.models ?? [])
    const partial = Boolean(answer.offline) || (answer.problems ?? []).length > 0
    const merged = models.length > 0 ? mergeRemote(models, fresh, partial) : fresh
    const wait = answer.stale && !answer.offline ? LOOKS[looks] : undefined
    store.set({
      models: merged ?? models,
      fresh: merged ? null : fresh,
      loading: false,
      error: null,
      refreshing: wait !== undefined,
      cached: Boolean(answer.cached),
      stale: Boolean(answer.stale),
      offline: Boolean(answer.offline),
      fetchedAt: answer.fetched_at ?? null,
      problems: answer.problems ?? []
    })
    if (wait !== undefined) timer = setTimeout(() => ask(looks + 1), wait)
  }

  search.subscribe(() => {
    const { text, loading, error } = search.get()
    const q = text.trim()
    if (q !== wanted) {
      wanted = q
      // An offer stands still while one types, and is for the words as they are.
      if (store.get().offered && q.length >= SHORTEST) store.set({ offered: q })
      else if (store.get().query || store.get().offered || timer) drop()
    }
    if (loading || error || q.length < SHORTEST || store.get().query === q) return
    clearTimeout(timer)
    timer = setTimeout(settle, REMOTE_DEBOUNCE)
  })

  /** @param {Partial<Chosen>} patch */
  function setOpen(patch) {
    const { open } = store.get()
    if (open) store.set({ open: { ...open, ...patch } })
  }

  /** What a search leaves out: sizes, and the files of large repositories. Their names are enough without the network.
   * @param {RemoteModel} model */
  async function loadFiles(model) {
    /** @type {RemoteModel} */
    let whole = model
    try {
      const { provider, repo_id, revision } = model
      const { files, pipelines } = await api.get(`/remote/files${query({ provider, repo_id, revision })}`)
      if (files?.length) whole = { ...model, files, pipelines: pipelines ?? [] }
    } catch (error) {
      if (store.get().open?.model === model && !(model.file_names ?? []).length) setOpen({ error: /** @type {ApiError} */ (error) })
    }
    const { open } = store.get()
    if (open?.model !== model) return
    // What was ticked by itself is no choice of the person's.
    const untouched = open.keys.join() === onlyModel(model).join()
    setOpen({ model: whole, filesLoading: false, ...(untouched ? { keys: onlyModel(whole) } : {}) })
  }

  return {
    ...store,

    retry: () => ask(0),

    /** The person wants the words sent. */
    searchOnline() {
      if (store.get().offered) void ask(0)
    },

    /** The person wants them sent by themselves from now on. */
    alwaysOnline: () => settings.save('remote_search', true),

    fold: () => store.set({ folded: !store.get().folded }),

    /** Ask again behind what is shown, such as when the network is back. */
    refresh() {
      if (!store.get().query) return
      if (store.get().models.length > 0) void ask(1)
      else void ask(0)
    },

    /** The person switched something: what is shown is asked for anew. */
    settingsChanged() {
      drop()
      if (wanted.length >= SHORTEST) void settle()
    },

    /** A `librarian.remote` event. @param {{provider?: string, q?: string | null}} event */
    event({ q }) {
      if (!store.get().query || q === null || q === undefined || fold(q) !== fold(wanted)) return
      clearTimeout(timer)
      timer = setTimeout(() => ask(1), GATHER)
    },

    /** Show the answer that moves rows. */
    update() {
      const { fresh } = store.get()
      if (fresh) store.set({ models: fresh, fresh: null })
    },

    /** @param {RemoteModel} model */
    open(model) {
      const keys = onlyModel(model)
      const filesLoading = !model.files?.length
      store.set({ open: { model, keys, acknowledged: false, link: true, starting: false, error: null, filesLoading } })
      if (filesLoading) void loadFiles(model)
    },

    close: () => store.set({ open: null }),

    /** @param {string} key */
    toggle(key) {
      const { open } = store.get()
      if (!open) return
      setOpen({ keys: toggled(groupFiles(open.model), open.keys, key), acknowledged: false })
    },

    /** @param {boolean} acknowledged */
    acknowledge: (acknowledged) => setOpen({ acknowledged }),

    /** @param {boolean} link */
    setLink: (link) => setOpen({ link }),

    /** Ask for what is chosen. @returns {Promise<boolean>} */
    async start() {
      const { open } = store.get()
      if (!open) return false
      const { model, keys, acknowledged, link } = open
      const groups = groupFiles(model).filter(({ key }) => keys.includes(key))
      setOpen({ starting: true, error: null })
      try {
        await download({
          provider: model.provider,
          repo_id: model.repo_id,
          ...(model.revision && model.revision !== 'main' ? { revision: model.revision } : {}),
          ...wantedFiles(groups),
          ...(groups.some(({ pickle }) => pickle) ? { acknowledge_pickle: acknowledged } : {}),
          link
        })
        if (store.get().open?.model === model) store.set({ open: null })
        return true
      } catch (error) {
        setOpen({ starting: false, error: /** @type {ApiError} */ (error) })
        return false
      }
    }
  }
}

/** @typedef {ReturnType<typeof createRemote>} Remote */
