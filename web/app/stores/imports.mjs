import { createStore } from '../store.mjs'
import { parsePaths } from '../text.mjs'
import { hasEnded } from './jobs.mjs'
import { blockedBy, chosenOf, draftsOf, isImportable, isPickle, itemOf, mayDeleteOriginals, possibleModes, valueOf } from './drafts.mjs'

/** @import { Api, ApiError } from '../api.mjs' */
/** @import { ChosenFile } from '../dropped-files.mjs' */
/** @import { Candidate, InspectGroup, Job, Warning } from '../types.mjs' */
/** @import { Draft, Mode } from './drafts.mjs' */
/** @import { Uploads } from './uploads.mjs' */

/**
 * @typedef {object} Run An import that was begun here.
 * @property {string} jobId
 * @property {Draft[]} drafts in the order of the job's items
 * @property {Options} options
 * @property {boolean} seen whether its end was looked at
 * @property {boolean} ended whether its end was told
 */

/** @typedef {{mode: Mode, deleteOriginals: boolean, link: boolean}} Options `link`: into the apps, afterwards */

/**
 * @typedef {object} ImportState
 * @property {'choose' | 'describe' | 'how' | 'run'} step
 * @property {string} text the path field
 * @property {(() => Promise<ChosenFile[]>) | null} spare the files of a drop that also told paths
 * @property {boolean} inspecting
 * @property {ApiError | null} inspectError
 * @property {Draft[]} drafts
 * @property {Warning[]} warnings of the inspection as a whole
 * @property {string} filter of the list of drafts
 * @property {Options} options
 * @property {boolean} starting
 * @property {ApiError | null} startError
 * @property {Run[]} runs newest first
 * @property {string | null} shown the job that the last step shows
 */

const RUNS_KEPT = 20

/**
 * The import wizard. It stands as it was left while the panel is closed and opened again.
 * @param {Api} api
 * @param {{started: (job: Job) => Job, uploads: Uploads}} parts
 */
export function createImports(api, { started, uploads }) {
  const store = createStore(
    /** @type {ImportState} */ ({
      step: 'choose',
      text: '',
      spare: null,
      inspecting: false,
      inspectError: null,
      drafts: [],
      warnings: [],
      filter: '',
      options: { mode: 'auto', deleteOriginals: false, link: true },
      starting: false,
      startError: null,
      runs: [],
      shown: null
    })
  )
  let inspection = 0

  /** Uploads that wait to be described. */
  const arrived = () => uploads.get().uploads.filter((upload) => upload.state === 'done')
  const underWay = () => uploads.get().uploads.some((upload) => ['waiting', 'sending'].includes(upload.state))

  /** @param {string} key @param {(draft: Draft) => Partial<Draft>} change */
  function update(key, change) {
    store.set({
      drafts: store.get().drafts.map((draft) => (draft.key === key ? { ...draft, ...change(draft) } : draft)),
      startError: null
    })
  }

  /** A mode that all of these allow; adoption where apps look for them, unless the person chose another before.
   * @param {Draft[]} drafts */
  function fitMode(drafts) {
    const { options } = store.get()
    const [best = 'copy', ...others] = possibleModes(chosenOf(drafts))
    const mode = best !== 'adopt' && [best, ...others].includes(options.mode) ? options.mode : best
    store.set({ options: { ...options, mode } })
  }

  /** Where apps look for models. Not known, only the better guess at a mode is missing. @returns {Promise<string[]>} */
  async function appFolders() {
    try {
      const { apps } = await api.get('/apps')
      return apps.flatMap((/** @type {any} */ app) => Object.values(app.folders ?? {}).flat())
    } catch {
      return []
    }
  }

  async function inspect() {
    const paths = parsePaths(store.get().text)
    const ids = arrived().map(({ id }) => id)
    if ((paths.length === 0 && ids.length === 0) || store.get().inspecting) return
    const mine = ++inspection
    store.set({ inspecting: true, inspectError: null })
    try {
      const [folders, ...answers] = await Promise.all([
        appFolders(),
        ids.length > 0 ? api.post('/inspect', { uploads: ids }) : { groups: [] },
        paths.length > 0 ? api.post('/inspect', { paths }) : { groups: [] }
      ])
      if (mine !== inspection) return
      /** @type {InspectGroup[]} */
      const groups = answers.flatMap((answer) => answer.groups)
      const drafts = draftsOf(store.get().drafts, groups, folders)
      store.set({
        inspecting: false,
        drafts,
        warnings: answers.flatMap((answer) => answer.warnings ?? []),
        filter: '',
        step: 'describe',
        spare: null,
        startError: null
      })
    } catch (error) {
      if (mine === inspection) store.set({ inspecting: false, inspectError: /** @type {ApiError} */ (error) })
    }
  }

  /** Back to the beginning; an inspection that is under way is not waited for. */
  function begin() {
    inspection += 1
    store.set({ step: 'choose', inspecting: false, inspectError: null, startError: null, shown: null })
  }

  /** Begin with something new: after an import, nothing of it is left over; else it is added. */
  function choose() {
    if (store.get().step === 'run') reset()
    else begin()
  }

  function reset() {
    begin()
    store.set({ text: '', spare: null, drafts: [], warnings: [], filter: '' })
  }

  /**
   * An import has ended. What a person chose among the answers of a lookup is applied now, when the hash is
   * known that proves it or not.
   * @param {Job} job
   */
  async function ended(job) {
    const run = store.get().runs.find((other) => other.jobId === job.id)
    if (!run || run.ended || !hasEnded(job)) return
    run.ended = true
    for (const [at, { candidate }] of run.drafts.entries()) {
      const item = job.items?.[at]
      if (!candidate || item?.state !== 'done' || !item.model_id) continue
      try {
        const model = item.model_id
        const answer = await api.post('/lookup', { model_id: model })
        const better = answer.candidates.find((/** @type {Candidate} */ other) => other.repo_id === candidate.repo_id)
        await api.post('/lookup/apply', { model_id: model, candidate: better ?? candidate })
      } catch {
        // The model is imported; what it is can be looked up again in its details.
      }
    }
  }

  /** @param {Draft[]} drafts */
  async function send(drafts) {
    const { options } = store.get()
    store.set({ starting: true, startError: null })
    try {
      const { job } = await api.post('/imports', {
        items: drafts.map((draft) => itemOf(draft, options.mode)),
        delete_originals: options.deleteOriginals && mayDeleteOriginals(drafts, options.mode),
        link: options.link
      })
      /** @type {Run} */
      const run = { jobId: job.id, drafts, options, seen: false, ended: false }
      store.set({
        starting: false,
        step: 'run',
        shown: job.id,
        runs: [run, ...store.get().runs].slice(0, RUNS_KEPT),
        text: '',
        drafts: [],
        warnings: []
      })
      const now = started(job)
      if (hasEnded(now)) void ended(now)
    } catch (error) {
      store.set({ starting: false, startError: /** @type {ApiError} */ (error) })
    }
  }

  /** @param {string} key */
  const find = (key) => store.get().drafts.find((draft) => draft.key === key)

  /** Ask what a file is. Nothing waits for the answer. @param {Draft} draft */
  async function lookUp({ key, group, lookup }) {
    if (lookup.asking) return
    update(key, () => ({ lookup: { asking: true, answer: null, error: null } }))
    const name = group.files[0]?.path ?? group.name
    try {
      const answer = await api.post('/lookup', {
        filename: name.split(/[\\/]/).pop(),
        ...(group.files.length === 1 && group.files[0]?.sha256 ? { sha256: group.files[0].sha256 } : {})
      })
      update(key, () => ({ lookup: { asking: false, answer, error: null } }))
    } catch (error) {
      update(key, () => ({ lookup: { asking: false, answer: null, error: /** @type {ApiError} */ (error) } }))
    }
  }

  /** @param {Run} run @param {Job} job */
  const failedOf = (run, job) => run.drafts.filter((_, at) => !['done', 'skipped'].includes(job.items?.[at]?.state ?? ''))

  /** A page that is left now breaks off what it sends. @param {BeforeUnloadEvent} event */
  const holdOn = (event) => event.preventDefault()

  // What was dropped goes on by itself once it is here, unless something needs the person first.
  let busy = false
  uploads.subscribe(() => {
    const wasBusy = busy
    busy = underWay()
    if (busy && !wasBusy) window.addEventListener('beforeunload', holdOn)
    if (!wasBusy || busy) return
    window.removeEventListener('beforeunload', holdOn)
    const troubled = uploads.get().uploads.some(({ state }) => state === 'failed' || state === 'paused')
    if (!troubled && arrived().length > 0 && store.get().step === 'choose') void inspect()
  })

  return {
    ...store,
    inspect,
    begin,
    reset,

    /** @param {string} text */
    setText: (text) => store.set({ text, inspectError: null, spare: null }),

    /** Paths that were dropped or ticked: looked at at once.
     * @param {string[]} paths @param {(() => Promise<ChosenFile[]>) | null} [spare] the same as files, if there are any */
    takePaths(paths, spare = null) {
      choose()
      store.set({ text: [...new Set([...parsePaths(store.get().text), ...paths])].join('\n'), spare })
      return inspect()
    },

    /** Files that lie where the browser runs. @param {ChosenFile[]} files */
    takeFiles(files) {
      choose()
      uploads.add(files)
    },

    /** The server cannot see these paths, but the browser holds the files. */
    async uploadSpare() {
      const { spare } = store.get()
      if (!spare) return []
      store.set({ text: '', spare: null, inspectError: null })
      return spare()
    },

    /** @param {string} key @param {boolean} include */
    include: (key, include) => update(key, () => ({ include })),
    /** @param {Set<string>} keys @param {boolean} include */
    includeAll: (keys, include) =>
      store.set({ drafts: store.get().drafts.map((draft) => (keys.has(draft.key) ? { ...draft, include } : draft)) }),
    /** @param {string} key */
    toggle: (key) => update(key, ({ open }) => ({ open: !open })),
    /** @param {string} key @param {boolean} acknowledged */
    acknowledge: (key, acknowledged) => update(key, () => ({ acknowledged })),
    /** @param {boolean} acknowledged */
    acknowledgeAll: (acknowledged) =>
      store.set({
        drafts: store.get().drafts.map((draft) => (draft.include && isPickle(draft) ? { ...draft, acknowledged } : draft))
      }),
    /** @param {string} key @param {string} field @param {string} value */
    describe: (key, field, value) => update(key, ({ changes }) => ({ changes: { ...changes, [field]: value } })),
    /** @param {string} subtype for all that are chosen */
    describeAll: (subtype) =>
      store.set({
        drafts: store.get().drafts.map((draft) => (draft.include ? { ...draft, changes: { ...draft.changes, subtype } } : draft))
      }),
    /** @param {string} filter */
    setFilter: (filter) => store.set({ filter }),
    /** @param {Partial<Options>} options */
    setOptions: (options) => store.set({ options: { ...store.get().options, ...options }, startError: null }),

    lookUp,

    /** Ask what the chosen ones are that were not asked for, one after the other, until one cannot be. */
    async lookUpAll() {
      for (const { key } of chosenOf(store.get().drafts)) {
        const draft = find(key)
        if (!draft || draft.lookup.answer || draft.lookup.asking) continue
        await lookUp(draft)
        if (find(key)?.lookup.error) return
      }
    },

    /** @param {string} key @param {Candidate | null} candidate */
    takeAnswer(key, candidate) {
      update(key, (draft) => {
        const changes = { ...draft.changes }
        if (candidate?.base_model && !valueOf(draft, 'base_model')) changes['base_model'] = candidate.base_model
        return { candidate, changes }
      })
    },

    back() {
      const { step } = store.get()
      if (step === 'how') store.set({ step: 'describe', startError: null })
      else begin()
    },

    next() {
      fitMode(store.get().drafts)
      store.set({ step: 'how', startError: null })
    },

    async start() {
      const { drafts, starting } = store.get()
      if (blockedBy(drafts) || starting) return
      const chosen = chosenOf(drafts)
      await send(chosen)
      if (store.get().startError) return
      const idsOf = (/** @type {Draft[]} */ some) => some.flatMap((draft) => [...draft.uploads, ...draft.beside])
      uploads.forget(idsOf(chosen))
      // What is no model, or is there already, is of no use on the server.
      const needed = idsOf(drafts.filter(isImportable))
      const useless = new Set(idsOf(drafts.filter((draft) => !isImportable(draft))).filter((id) => !needed.includes(id)))
      for (const { key, id } of uploads.get().uploads) if (useless.has(id)) uploads.cancel(key)
    },

    /** @param {string} jobId */
    show: (jobId) => store.set({ step: 'run', shown: jobId }),
    /** @param {string} jobId */
    runOf: (jobId) => store.get().runs.find((run) => run.jobId === jobId) ?? null,

    /** @param {string} jobId */
    markSeen(jobId) {
      store.set({ runs: store.get().runs.map((run) => (run.jobId === jobId && !run.seen ? { ...run, seen: true } : run)) })
    },

    failedOf,

    /** Once more, only what failed, as it was described. @param {Run} run @param {Job} job */
    async retry(run, job) {
      store.set({ options: run.options })
      await send(failedOf(run, job))
    },

    /** Back to describing what failed, to change something first. @param {Run} run @param {Job} job */
    change(run, job) {
      store.set({ drafts: failedOf(run, job), options: run.options, warnings: [], filter: '', step: 'describe', shown: null })
    },

    ended
  }
}

/** @typedef {ReturnType<typeof createImports>} Imports */
