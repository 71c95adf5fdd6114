import { createApi } from './api.mjs'
import { bareI18n, loadI18n } from './i18n.mjs'
import { createStore } from './store.mjs'
import { createApps } from './stores/apps.mjs'
import { createBulk } from './stores/bulk.mjs'
import { createDetails } from './stores/details.mjs'
import { createDownloads } from './stores/downloads.mjs'
import { createFolders } from './stores/folders.mjs'
import { createHealth } from './stores/health.mjs'
import { createImports } from './stores/imports.mjs'
import { createJobs } from './stores/jobs.mjs'
import { createLinks } from './stores/links.mjs'
import { createMappings } from './stores/mappings.mjs'
import { createNames } from './stores/names.mjs'
import { createRelated } from './stores/related.mjs'
import { createRelocation } from './stores/relocation.mjs'
import { createRemote } from './stores/remote.mjs'
import { createSearch } from './stores/search.mjs'
import { createSelection } from './stores/selection.mjs'
import { createSettings } from './stores/settings.mjs'
import { createStatus } from './stores/status.mjs'
import { createStorage } from './stores/storage.mjs'
import { createUploads } from './stores/uploads.mjs'
import { createView } from './stores/view.mjs'
import { createWorkflow } from './stores/workflow.mjs'

/** @import { Host, Job } from './types.mjs' */
/** @import { I18n } from './i18n.mjs' */

/**
 * Builds the panel's parts and wires them to each other and to the server's events. One for each
 * page, whatever is mounted or not.
 * @param {Host} host
 */
export function createLibrarianApp(host) {
  const api = createApi(host)
  const words = createStore(
    /** @type {{i18n: I18n, ready: boolean, failed: boolean}} */ ({ i18n: bareI18n(), ready: false, failed: false })
  )
  const view = createView()
  const search = createSearch(api)
  const selection = createSelection(search)
  const details = createDetails(api, {
    recordChanged: (record) => search.patchRow(record),
    modelRemoved: (modelId) => search.removeRow(modelId)
  })
  const jobs = createJobs(api, jobEnded)
  const bulk = createBulk(api, { jobs, search, selection })
  const storage = createStorage(api, { started: jobs.started, jobs })
  const folders = createFolders(api)
  const uploads = createUploads(api)
  const imports = createImports(api, { started: jobs.started, uploads })
  const links = createLinks(api, jobs.started)
  const apps = createApps(api, linksChanged)
  const health = createHealth(api, { started: jobs.started, linksChanged })
  const relocation = createRelocation(api, linksChanged)
  const mappings = createMappings(api)
  const names = createNames(api)
  const settings = createSettings(api, (key) => {
    if (key === 'online' || key === 'remote_search') remote.settingsChanged()
  })
  const downloads = createDownloads(api, {
    started: jobs.started,
    failed: (error) => toast('error', t('downloads.failed'), words.get().i18n.told(error))
  })
  const workflow = createWorkflow(api, host, { names, jobs, downloads })
  const related = createRelated(api, downloads.start)
  const remote = createRemote(api, { search, settings, download: downloads.start })
  const status = createStatus(api, () => {
    if (search.get().error) void search.load()
    search.libraryChanged()
    void jobs.load()
  })

  /** @type {I18n['t']} */
  const t = (key, values) => words.get().i18n.t(key, values)

  /** @param {'success' | 'info' | 'warn' | 'error'} severity @param {string} summary @param {string} [detail] */
  function toast(severity, summary, detail) {
    if (!host.toast(severity, summary, detail)) view.toast(severity, summary, detail)
  }

  /** The person says that the network is back: hosts that are left alone get one call now. */
  async function lookForNetwork() {
    try {
      await api.post('/lookup/retry')
    } catch (error) {
      toast('error', t('banner.tryFailed'), words.get().i18n.told(/** @type {Error} */ (error)))
    }
    remote.refresh()
    await status.load()
  }

  /** Links came, went or moved. Asked once for a batch, not once for each file. */
  function linksChanged() {
    // They decide what ComfyUI's combos offer.
    void host.refreshNodes()
    if (apps.get().apps) void apps.load()
    health.refresh()
  }

  /** @param {Job} job @param {boolean} ours whether this panel started it */
  function jobEnded(job, ours) {
    search.libraryChanged()
    void status.load()
    if (job.kind === 'import') void imports.ended(job)
    if (['sync', 'import', 'download', 'repair'].includes(job.kind) && (job.state === 'done' || job.state === 'cancelled')) linksChanged()
    links.ended(job)
    downloads.jobChanged(job)
    storage.ended(job)
    storage.changed()
    workflow.ended(job)
    health.takeStart(job)
    const kind = words.get().i18n.term('jobs.kind', job.kind)
    // The place that shows the result needs no second voice.
    const shown = /** @type {Record<string, string>} */ ({ import: 'import', sync: 'links', repair: 'links', health: 'links' })[job.kind] === view.get().place
    if (job.state === 'failed' && !shown) toast('error', t('jobs.failed', { kind }), words.get().i18n.told(job.error))
    else if (job.state === 'done' && ours && !shown) toast('success', t('jobs.done', { kind }))
  }

  async function loadWords() {
    words.set({ failed: false })
    try {
      words.set({ i18n: await loadI18n(host), ready: true })
      if (search.get().error) void search.load()
    } catch {
      words.set({ failed: true })
    }
  }

  /** @type {Promise<void> | null} */
  let begun = null
  /** What nodes and the tab's badge need, whether the panel is open or not. */
  function begin() {
    begun ??= listen()
    return begun
  }

  async function listen() {
    host.on('librarian.job', (/** @type {Job} */ job) => {
      jobs.take(job)
      downloads.jobChanged(job)
    })
    host.on('librarian.remote', (/** @type {any} */ event) => remote.event(event ?? {}))
    host.on('librarian.status', (/** @type {any} */ data) => status.event(data))
    host.on('librarian.library', (/** @type {any} */ event) => {
      search.libraryChanged()
      details.libraryChanged(event ?? {})
      names.forget()
    })
    const badge = () => host.badge((health.get().report?.total_issues ?? 0) + workflow.missing())
    health.subscribe(badge)
    workflow.subscribe(badge)
    void jobs.load().then(() => jobs.get().jobs.forEach(health.takeStart))
    await loadWords()
  }

  let started = false
  /** The first questions; asked once, when the panel is opened for the first time. */
  function start() {
    if (started) return
    started = true
    void begin()
    void search.load()
  }

  /** Show a model in the list, or those of its kinds. @param {string} modelId @param {string[]} subtypes */
  function reveal(modelId, subtypes) {
    host.open()
    view.go('models')
    if (modelId) details.open(modelId)
    else search.showOnly({ subtype: subtypes })
  }

  return {
    host, api, words, view, search, selection, bulk, details, jobs, storage, folders, uploads, imports, links, apps, health, relocation, mappings,
    names, workflow, settings, remote, related, downloads, lookForNetwork, status, toast, begin, start, reveal, loadWords
  }
}

/** @typedef {ReturnType<typeof createLibrarianApp>} LibrarianPanel */
