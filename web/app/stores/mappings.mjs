import { query } from '../api.mjs'
import { foldersOf, merged, queryOf, ruleOf, tidyRule, usualRule, wants } from '../mapping-rules.mjs'
import { createStore } from '../store.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { AppFolder, Chosen, Rule, RuleFilter, RuleFilters } from '../mapping-rules.mjs' */
/** @import { Facets, LibrarianApp, ModelRow } from '../types.mjs' */

/** Milliseconds without a change before it is asked what a rule catches, or which models there are. */
const DEBOUNCE = 300
/** Models of one request, and the most that are looked at for one rule. */
const PAGE = 500
const MOST = 2000
/** Models listed in the editor's library. */
const LISTED = 8

/** @typedef {{key: number, rule: Rule}} Draft */
/** @typedef {{count: number, more: boolean, names: string[], loading: boolean, error: ApiError | null}} Catch what a rule wants; `more` says that not all were looked at */
/** @typedef {{name: string, source: 'person' | 'preset', mapping: {app: string, version: string, variant: string, description?: string, rules: Rule[]}}} NamedMapping */
/** @typedef {{file: string, key: string, reason: string}} MappingProblem */

/**
 * @typedef {object} MappingsState
 * @property {LibrarianApp | null} app
 * @property {boolean} loading
 * @property {ApiError | null} error
 * @property {string} name of the mapping that is edited
 * @property {string[]} names of all of the person's mappings for this app
 * @property {boolean} exists whether there is one of the person's with this name
 * @property {MappingProblem[]} problems
 * @property {Rule[]} preset the rules that ship with Librarian for this app; those of the person stand above them, by folder
 * @property {Draft[]} drafts
 * @property {boolean} dirty
 * @property {number | null} openKey the rule that is shown whole
 * @property {number | null} freshKey the rule that was made or moved last, until it has the focus
 * @property {boolean} saving
 * @property {ApiError | null} saveError
 * @property {Record<string, string>} wrong what is wrong, by `rules.0.name` and the like
 * @property {Record<number, Catch>} catches by the draft's key
 * @property {RuleFilters} picked filters chosen in the library
 * @property {ModelRow | null} pickedModel
 * @property {Chosen | null} dragging
 * @property {string} text
 * @property {ModelRow[]} models
 * @property {Facets | null} facets
 * @property {ApiError | null} libraryError
 */

/** @type {MappingsState} */
const EMPTY = {
  app: null, loading: false, error: null, name: '', names: [], exists: false, problems: [], preset: [], drafts: [], dirty: false,
  openKey: null, freshKey: null, saving: false, saveError: null, wrong: {}, catches: {}, picked: {}, pickedModel: null, dragging: null,
  text: '', models: [], facets: null, libraryError: null
}

/** @param {string} name `{app}_{version}_{variant}` */
function partsOf(name) {
  const parts = name.split('_')
  const [version = '*', variant = 'default'] = parts.slice(-2)
  return { app: parts.slice(0, -2).join('_'), version, variant }
}

/** @param {RuleFilters} filters */
const isEmpty = (filters) => Object.values(filters).every((value) => value === null || value === undefined || (Array.isArray(value) && value.length === 0))

/** The rules of one app, while they are edited. @param {Api} api */
export function createMappings(api) {
  const store = createStore(EMPTY)
  let keys = 0
  let sequence = 0
  let librarySequence = 0
  /** @type {Promise<void>} */
  let libraryLoaded = Promise.resolve()
  /** @type {Map<number, number>} */
  const catching = new Map()
  /** @type {Map<number | 'library', ReturnType<typeof setTimeout>>} */
  const timers = new Map()

  /** @param {number | 'library'} what @param {() => void} run */
  function soon(what, run) {
    clearTimeout(timers.get(what))
    timers.set(what, setTimeout(run, DEBOUNCE))
  }

  /** @param {Rule[]} rules @returns {Draft[]} */
  const draftsOf = (rules) => rules.map((rule) => ({ key: ++keys, rule: tidyRule(rule) }))

  /** @param {any} report @param {LibrarianApp} app @param {string} [wanted] */
  function show(report, app, wanted) {
    const own = /** @type {NamedMapping[]} */ (report.mappings ?? []).filter(
      ({ source, mapping }) => source === 'person' && (mapping.app === app.app || mapping.app === app.kind)
    )
    const usual = `${app.app}_*_default`
    const name = wanted ?? (own.some((one) => one.name === usual) ? usual : (own[0]?.name ?? usual))
    // Of a ComfyUI the folders are known; a preset is for the other apps.
    const preset = app.added && app.kind !== 'comfyui'
      ? /** @type {NamedMapping | undefined} */ ((report.mappings ?? []).find((/** @type {NamedMapping} */ one) => one.source === 'preset' && one.mapping.app === app.kind))
      : undefined
    const edited = own.find((one) => one.name === name)
    const drafts = draftsOf(edited?.mapping.rules ?? [])
    store.set({
      name,
      names: [...new Set([usual, ...own.map((one) => one.name)])],
      exists: edited !== undefined,
      problems: report.problems ?? [],
      preset: (preset?.mapping.rules ?? []).map(tidyRule),
      drafts, dirty: false, openKey: null, freshKey: null, saveError: null, wrong: {}, catches: {}, loading: false, error: null
    })
    for (const { key } of drafts.slice(0, 20)) void look(key)
  }

  /** @param {LibrarianApp} app @param {string} [name] */
  async function open(app, name) {
    const mine = ++sequence
    const another = store.get().app?.app !== app.app
    store.set({ ...(another ? EMPTY : {}), app, loading: true, error: null })
    libraryLoaded = loadLibrary()
    try {
      const report = await api.get('/mappings')
      if (mine === sequence) show(report, app, name)
    } catch (error) {
      if (mine === sequence) store.set({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  async function loadLibrary() {
    const mine = ++librarySequence
    const { text, picked } = store.get()
    try {
      const [facets, { models }] = await Promise.all([
        store.get().facets ?? api.get(`/facets${query({ storage: 'owned' })}`),
        api.get(`/models${query({ q: text.trim(), storage: 'owned', limit: LISTED, ...queryOf(picked, null) })}`)
      ])
      if (mine === librarySequence) store.set({ facets, models, libraryError: null })
    } catch (error) {
      if (mine === librarySequence) store.set({ libraryError: /** @type {ApiError} */ (error) })
    }
  }

  /** Ask which models a rule wants. @param {number} key */
  async function look(key) {
    const mine = (catching.get(key) ?? 0) + 1
    catching.set(key, mine)
    const rule = store.get().drafts.find((draft) => draft.key === key)?.rule
    if (!rule) return
    const tell = (/** @type {Partial<Catch>} */ change) => {
      if (catching.get(key) !== mine) return
      const { catches } = store.get()
      const before = catches[key] ?? { count: 0, more: false, names: [], loading: true, error: null }
      store.set({ catches: { ...catches, [key]: { ...before, ...change } } })
    }
    tell({ loading: true, error: null })
    await libraryLoaded
    try {
      /** @type {ModelRow[]} */
      const found = []
      let offset = 0
      let total = 1
      while (offset < Math.min(total, MOST) && catching.get(key) === mine) {
        const answer = await api.get(`/models${query({ storage: 'owned', limit: PAGE, offset, sort: 'name', order: 'asc', ...queryOf(rule.filters, store.get().facets) })}`)
        found.push(...answer.models.filter((/** @type {ModelRow} */ model) => wants(rule, model)))
        total = answer.total
        offset += PAGE
      }
      tell({ loading: false, count: found.length, more: total > MOST, names: found.slice(0, 5).map((model) => model.official_name ?? model.model_id) })
    } catch (error) {
      tell({ loading: false, error: /** @type {ApiError} */ (error) })
    }
  }

  /** @param {number} key @param {Partial<Rule>} change */
  function edit(key, change) {
    const drafts = store.get().drafts.map((draft) => (draft.key === key ? { key, rule: { ...draft.rule, ...change } } : draft))
    store.set({ drafts, dirty: true, wrong: {}, ...('target_subdir' in change && { freshKey: key }) })
    soon(key, () => void look(key))
  }

  /** @param {Rule} rule */
  function addRule(rule) {
    const key = ++keys
    store.set({ drafts: [...store.get().drafts, { key, rule }], dirty: true, openKey: key, freshKey: key, wrong: {} })
    void look(key)
  }

  /** What is chosen in the library, if anything. @returns {Chosen | null} */
  function chosen() {
    const { picked, pickedModel } = store.get()
    if (pickedModel) return { filters: {}, model: pickedModel }
    return isEmpty(picked) ? null : { filters: picked }
  }

  const clearChosen = () => {
    store.set({ picked: {}, pickedModel: null })
    void loadLibrary()
  }

  return {
    ...store,
    open,
    loadLibrary,
    chosen,
    clearChosen,
    edit,

    /** @param {string} name another mapping of this app */
    choose(name) {
      const { app } = store.get()
      if (app) void open(app, name)
    },

    folders: () => {
      const { app, drafts, preset } = store.get()
      return app ? foldersOf(app, drafts.map(({ rule }) => rule), preset) : []
    },

    /** @param {string} text */
    search(text) {
      store.set({ text })
      soon('library', () => void loadLibrary())
    },

    /** Choose a value of the library, or no longer. @param {RuleFilter} filter @param {string} value */
    toggle(filter, value) {
      const { picked } = store.get()
      const before = picked[filter] ?? []
      const after = before.includes(value) ? before.filter((other) => other !== value) : [...before, value]
      store.set({ picked: { ...picked, [filter]: after }, pickedModel: null })
      void loadLibrary()
    },

    /** @param {ModelRow} model */
    toggleModel: (model) => store.set({ pickedModel: store.get().pickedModel?.model_id === model.model_id ? null : model }),

    /** @param {Chosen | null} dragging */
    drag: (dragging) => store.set({ dragging }),

    /** A rule is made of what was dropped, or chosen, and this folder. @param {AppFolder} folder */
    putInto(folder) {
      const what = store.get().dragging ?? chosen()
      if (!what) return
      addRule(ruleOf(what, folder))
      store.set({ dragging: null, picked: {}, pickedModel: null })
      void loadLibrary()
    },

    /** What was dropped narrows a rule further. @param {number} key */
    putOnto(key) {
      const { dragging, drafts } = store.get()
      const what = dragging ?? chosen()
      const rule = drafts.find((draft) => draft.key === key)?.rule
      if (!what || !rule || what.model) return
      edit(key, { filters: merged(rule.filters, what.filters) })
      store.set({ dragging: null, openKey: key })
    },

    /** @param {AppFolder} folder */
    addUsual: (folder) => addRule(usualRule(folder)),

    /** @param {number} key */
    remove: (key) => store.set({ drafts: store.get().drafts.filter((draft) => draft.key !== key), dirty: true, wrong: {} }),

    seen: () => store.set({ freshKey: null }),

    /** @param {number} key */
    toggleOpen: (key) => store.set({ openKey: store.get().openKey === key ? null : key }),

    /** @returns {Promise<boolean>} */
    async save() {
      const { name, drafts, app } = store.get()
      store.set({ saving: true, saveError: null, wrong: {} })
      try {
        await api.put(`/mappings/${encodeURIComponent(name)}`, { ...partsOf(name), rules: drafts.map(({ rule }) => rule) })
        store.set({ saving: false, dirty: false, exists: true })
        if (app) void api.get('/mappings').then(({ problems }) => store.set({ problems }), () => {})
        return true
      } catch (error) {
        const failed = /** @type {ApiError} */ (error)
        const wrong = Object.fromEntries(failed.fields.map(({ field, message }) => [field, message]))
        const first = Number(/^rules\.(\d+)\./.exec(failed.fields[0]?.field ?? '')?.[1] ?? -1)
        store.set({ saving: false, saveError: failed, wrong, openKey: drafts[first]?.key ?? store.get().openKey })
        return false
      }
    },

    /** Forget what was changed since it was saved. */
    discard() {
      const { app, name } = store.get()
      if (app) void open(app, name)
    },

    /** Back to the rules that hold by themselves. @returns {Promise<boolean>} */
    async reset() {
      const { app, name } = store.get()
      if (!app) return false
      store.set({ saving: true, saveError: null })
      try {
        const report = await api.delete(`/mappings/${encodeURIComponent(name)}`)
        store.set({ saving: false })
        show(report, app)
        return true
      } catch (error) {
        store.set({ saving: false, saveError: /** @type {ApiError} */ (error) })
        return false
      }
    }
  }
}

/** @typedef {ReturnType<typeof createMappings>} Mappings */
