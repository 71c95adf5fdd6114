import { isAbort, query } from '../api.mjs'
import { createStore } from '../store.mjs'
import { fold } from '../text.mjs'
import { PAGE, Rows } from './rows.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { Facets, ModelRow } from '../types.mjs' */

/** Milliseconds without a key before the server is asked. */
export const DEBOUNCE = 300
/** Rows of one request where all of them are wanted; the most that the server gives. */
const BIGGEST_PAGE = 500
/** Pages kept: what was scrolled past long ago is fetched again rather than kept for ever. */
export const PAGES_KEPT = 40
/** Pages fetched at a time: whoever scrolls fast wants the last ones. */
const PAGES_AT_A_TIME = 3
/** Milliseconds to gather `librarian.library` events in, so that a scan does not cause a storm. */
const GATHER = 700

/** Filters that the panel offers, and the field of a row that each looks at. */
export const FILTERS = /** @type {const} */ ({
  subtype: 'subtype',
  type: 'model_type',
  family: 'family',
  base_model: 'base_model',
  tag: 'tags',
  tier: 'security_tier'
})
/** @typedef {keyof typeof FILTERS} FilterName */
/** @typedef {Partial<Record<FilterName, string[]>>} Filters several values of one filter mean any of them */

/** Orders to choose from; the empty one is the server's own: best match first, else newest.
 * @type {{id: string, sort: string, order: 'asc' | 'desc' | ''}[]} */
export const SORTS = [
  { id: 'best', sort: '', order: '' },
  { id: 'name', sort: 'name', order: 'asc' },
  { id: 'newest', sort: 'added', order: 'desc' },
  { id: 'updated', sort: 'updated', order: 'desc' },
  { id: 'largest', sort: 'size', order: 'desc' },
  { id: 'smallest', sort: 'size', order: 'asc' }
]

/**
 * @typedef {object} SearchState
 * @property {string} text what stands in the field
 * @property {Filters} filters
 * @property {string} sortId
 * @property {Rows} rows
 * @property {number} total
 * @property {string} match how the server found them (`all`, `any`, `fuzzy`, …)
 * @property {boolean} loaded whether there has been an answer at all
 * @property {boolean} loading a first page is on its way
 * @property {ApiError | null} error of the first page
 * @property {ApiError | null} pageError of a later page
 * @property {Rows | null} atHand rows filtered on the spot while the server is asked
 * @property {number} generation grows with each new list, which then begins at its top
 * @property {boolean} updateOffered the library changed in a way that would move rows
 * @property {string | null} activeId the row that the keyboard is on
 * @property {Facets | null} facets
 * @property {ApiError | null} facetsError
 */

/** What is known of a row while it lasts, so that a key does not read thousands of rows anew. @type {WeakMap<ModelRow, string>} */
const haystacks = new WeakMap()

/** @param {ModelRow} row */
function haystack(row) {
  let text = haystacks.get(row)
  if (text === undefined) {
    const { official_name, file_name, model_id, family, base_model, subtype, tags } = row
    text = fold([official_name, file_name, model_id, family, base_model, subtype, ...(tags ?? [])].join(' '))
    haystacks.set(row, text)
  }
  return text
}

/** @param {ModelRow} row @param {Filters} filters */
const passes = (row, filters) =>
  Object.entries(filters).every(([name, wanted]) => {
    const value = row[FILTERS[/** @type {FilterName} */ (name)]]
    return Array.isArray(value) ? wanted.some((one) => value.includes(one)) : wanted.includes(value ?? '')
  })

/** @param {Api} api */
export function createSearch(api) {
  const store = createStore(
    /** @type {SearchState} */ ({
      text: '',
      filters: {},
      sortId: 'best',
      rows: new Rows(),
      total: 0,
      match: 'list',
      loaded: false,
      loading: false,
      error: null,
      pageError: null,
      atHand: null,
      generation: 0,
      updateOffered: false,
      activeId: null,
      facets: null,
      facetsError: null
    })
  )
  /** Where the list was scrolled to, in pixels; survives a closed tab. Not shown, so not in the store. */
  const position = { scrollTop: 0, columns: 1 }

  let sequence = 0
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let gathering
  /** @type {AbortController | null} */
  let running = null
  /** @type {Set<number>} */
  const pagesAsked = new Set()
  /** The rows in sight. */
  let wanted = { from: 0, to: 0 }
  let facetsSequence = 0

  const filterQuery = () => {
    const { text, filters } = store.get()
    return { q: text.trim(), ...filters }
  }

  /** @param {number} offset @param {AbortSignal} [signal] */
  const ask = (offset, signal) => {
    const chosen = SORTS.find(({ id }) => id === store.get().sortId)
    return api.get(
      `/models${query({ ...filterQuery(), sort: chosen?.sort, order: chosen?.order, limit: PAGE, offset })}`,
      signal ? { signal } : {}
    )
  }

  /** Rows that are here already and fit what was typed; the server's answer replaces them. */
  function filterAtHand() {
    const { rows, text, filters } = store.get()
    const words = fold(text).split(' ').filter(Boolean)
    const fits = (/** @type {ModelRow} */ row) => passes(row, filters) && words.every((word) => haystack(row).includes(word))
    store.set({ atHand: Rows.of(rows.here().filter(fits)) })
  }

  /** Ask for the first page now. */
  async function load() {
    clearTimeout(timer)
    const mine = ++sequence
    running?.abort()
    running = new AbortController()
    pagesAsked.clear()
    store.set({ loading: true, error: null, pageError: null, updateOffered: false })
    try {
      const answer = await ask(0, running.signal)
      // A later question is on its way: this answer is out of order.
      if (mine !== sequence) return
      const rows = /** @type {ModelRow[]} */ (answer.models)
      const { activeId } = store.get()
      position.scrollTop = 0
      store.set({
        rows: Rows.of(rows),
        total: Math.max(answer.total ?? 0, rows.length),
        match: answer.match ?? 'list',
        loaded: true,
        loading: false,
        atHand: null,
        generation: store.get().generation + 1,
        activeId: rows.some((row) => row.model_id === activeId) ? activeId : null
      })
    } catch (error) {
      if (mine !== sequence || isAbort(error)) return
      store.set({ loading: false, error: /** @type {ApiError} */ (error), atHand: null })
    }
  }

  /** Ask soon; every further change begins the wait anew. */
  function loadSoon() {
    clearTimeout(timer)
    // Whatever is under way answers a question nobody asks any more.
    sequence += 1
    running?.abort()
    store.set({ loading: true })
    filterAtHand()
    timer = setTimeout(load, DEBOUNCE)
  }

  /** See to it that rows `from` to `to` get fetched. @param {number} from @param {number} to */
  function ensure(from, to) {
    const { rows, total, loading, error } = store.get()
    wanted = { from, to }
    if (loading || error) return
    for (let page = Math.floor(from / PAGE); page <= Math.floor(to / PAGE); page += 1) {
      const first = page * PAGE
      if (first >= total || pagesAsked.has(page) || rows.has(page, total)) continue
      if (pagesAsked.size >= PAGES_AT_A_TIME) return
      pagesAsked.add(page)
      void fetchPage(page)
    }
  }

  /** @param {number} page */
  async function fetchPage(page) {
    const mine = sequence
    const offset = page * PAGE
    try {
      const answer = await ask(offset)
      if (mine !== sequence) return
      const rows = store.get().rows.withPage(page, answer.models, PAGES_KEPT)
      // The library shrank meanwhile: the list ends where the rows end.
      const total = answer.models.length < PAGE ? offset + answer.models.length : Math.max(answer.total, store.get().total)
      pagesAsked.delete(page)
      store.set({ rows, total, pageError: null })
      ensure(wanted.from, wanted.to)
    } catch (error) {
      if (mine !== sequence) return
      pagesAsked.delete(page)
      store.set({ pageError: /** @type {ApiError} */ (error) })
    }
  }

  /** Every row of what is found, whether it is in sight or not. @param {AbortSignal} signal @returns {Promise<ModelRow[]>} */
  async function everything(signal) {
    const chosen = SORTS.find(({ id }) => id === store.get().sortId)
    const asked = { ...filterQuery(), sort: chosen?.sort, order: chosen?.order, limit: BIGGEST_PAGE }
    /** @type {ModelRow[]} */
    const found = []
    for (;;) {
      const answer = await api.get(`/models${query({ ...asked, offset: found.length })}`, { signal })
      signal.throwIfAborted()
      found.push(...answer.models)
      if (answer.models.length === 0 || found.length >= answer.total) return found
    }
  }

  /** The library changed: show it at once where no row moves, else offer to. */
  async function refreshQuietly() {
    const before = store.get()
    if (!before.loaded || before.loading) return
    const mine = sequence
    try {
      const answer = await ask(0)
      const now = store.get()
      if (mine !== sequence) return
      const fresh = /** @type {ModelRow[]} */ (answer.models)
      const shown = now.rows.between(0, Math.min(PAGE, now.total) - 1)
      const sameOrder = shown.every((row, at) => row.model_id === fresh[at]?.model_id)
      if (!sameOrder && shown.length > 0) {
        store.set({ updateOffered: true })
        return
      }
      const total = Math.max(answer.total, fresh.length)
      // Later pages may hold other rows now; those in sight are fetched again when they come into view.
      const rows = now.rows.withPage(0, fresh).upTo(total)
      store.set({ rows, total, match: answer.match ?? now.match, error: null })
    } catch {
      // The status banner says that nobody answers; what is shown stays.
    }
  }

  /** @param {Map<string, Partial<ModelRow>>} changes by model id */
  function patchRows(changes) {
    store.set({
      rows: store.get().rows.changed((row) => {
        const changed = changes.get(row.model_id)
        if (!changed) return row
        /** @type {any} */
        const patched = { ...row }
        for (const key of Object.keys(row)) if (key in changed) patched[key] = /** @type {any} */ (changed)[key]
        return patched
      })
    })
  }

  /** @param {Set<string>} modelIds */
  function removeRows(modelIds) {
    const { rows, total, activeId } = store.get()
    const { rows: left, gone } = rows.without(modelIds)
    if (gone === 0) return
    pagesAsked.clear()
    // The keyboard goes on at the row that moves up.
    let at = rows.positionOf(activeId)
    while (modelIds.has(rows.at(at)?.model_id ?? '')) at += 1
    store.set({ rows: left, total: Math.max(0, total - gone), activeId: rows.at(at)?.model_id ?? null })
  }

  /** @param {FilterName} name @param {string[]} values */
  function setFilter(name, values) {
    const filters = { ...store.get().filters }
    if (values.length === 0) delete filters[name]
    else filters[name] = values
    store.set({ filters })
    filterAtHand()
    void load()
  }

  return {
    ...store,
    position,
    load,
    ensure,
    everything,

    /** @param {string} text */
    setText(text) {
      if (text === store.get().text) return
      const sameQuestion = text.trim() === store.get().text.trim()
      store.set({ text })
      if (!sameQuestion) loadSoon()
    },

    /** Back to everything, at once. */
    clearText() {
      if (!store.get().text) return
      store.set({ text: '' })
      void load()
    },

    /** @param {FilterName} name @param {string} value */
    toggleFilter(name, value) {
      const before = store.get().filters[name] ?? []
      setFilter(name, before.includes(value) ? before.filter((other) => other !== value) : [...before, value])
    },

    /** Everything that passes these filters. @param {Filters} filters */
    showOnly(filters) {
      store.set({ text: '', filters })
      void load()
    },

    /** @param {FilterName} name */
    clearFilter: (name) => setFilter(name, []),

    clearFilters() {
      store.set({ filters: {} })
      void load()
    },

    /** @param {string} sortId */
    setSort(sortId) {
      store.set({ sortId })
      void load()
    },

    /** @param {string | null} activeId */
    setActive: (activeId) => store.set({ activeId }),

    /** Fetch again the pages that failed. */
    retryPages() {
      store.set({ pageError: null })
    },

    /** Counts for the filter menus; asked for when a menu opens, never while somebody types. */
    async loadFacets() {
      const mine = ++facetsSequence
      store.set({ facetsError: null })
      try {
        const facets = await api.get(`/facets${query(filterQuery())}`)
        if (mine === facetsSequence) store.set({ facets: facets.facets ?? facets })
      } catch (error) {
        if (mine === facetsSequence) store.set({ facetsError: /** @type {ApiError} */ (error) })
      }
    },

    /** @param {Partial<ModelRow> & {model_id: string}} changed put what was edited into the list at once */
    patchRow: (changed) => patchRows(new Map([[changed.model_id, changed]])),
    patchRows,

    /** @param {string} modelId */
    removeRow: (modelId) => removeRows(new Set([modelId])),
    removeRows,

    /** A `librarian.library` event. */
    libraryChanged() {
      clearTimeout(gathering)
      gathering = setTimeout(refreshQuietly, GATHER)
    }
  }
}

/** @typedef {ReturnType<typeof createSearch>} Search */
