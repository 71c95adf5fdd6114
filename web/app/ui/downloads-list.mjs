import { html, useEffect } from '../../vendor/htm-preact.mjs'
import { isResting } from '../stores/downloads.mjs'
import { baseName } from '../text.mjs'
import { useI18n, usePanel, useSeconds, useStore } from './context.mjs'
import { webAddress } from './details-sheet.mjs'
import { Icon } from './icons.mjs'
import { Button, CopyButton, ErrorBox, IconButton, MiddleName, ProgressBar } from './parts.mjs'

/** @import { Download } from '../types.mjs' */

const ICONS = { queued: 'activity', downloading: 'tray', waiting: 'offline', paused: 'pause', importing: 'library', done: 'check', failed: 'error' }
/** Reasons that a token may put right. */
const WANTS_TOKEN = new Set(['remote_unauthorized', 'remote_forbidden'])

/** Why it waits or failed, and what can be done. @param {{download: Download}} props */
function Reason({ download }) {
  const { view, downloads } = usePanel()
  const { t, told, duration } = useI18n()
  const { reason, state, retry_after_s, page_url } = download
  const { receivedAt } = useStore(downloads)
  const now = useSeconds(state === 'waiting' && Boolean(retry_after_s))
  const left = Math.max(0, (retry_after_s ?? 0) - Math.floor((now - receivedAt) / 1000))
  const page = webAddress(page_url ?? undefined)
  if (!reason && !(state === 'waiting' && left > 0)) return null
  return html`<div class="lib-download-reason" data-state=${state}>
    <p>
      ${told(reason)}
      ${state === 'waiting' && left > 0 && html` <span role="timer">${t('downloads.nextTry', { time: duration(left) })}</span>`}
    </p>
    ${state === 'failed' &&
    html`<p class="lib-callout-actions">
      ${page && html`<a href=${page} target="_blank" rel="noreferrer noopener">${t('remote.page')}</a>`}
      ${reason?.code === 'pickle_not_acknowledged' && html`<${Button} icon="warn" onClick=${() => downloads.resume(download.id, true)}>${t('downloads.anyway')}<//>`}
      ${reason && WANTS_TOKEN.has(reason.code) && html`<${Button} kind="quiet" icon="settings" onClick=${() => view.openSheet('settings')}>${t('remote.setToken')}<//>`}
    </p>`}
  </div>`
}

/** What came with other bytes than published: where it lies, and its end. @param {{download: Download}} props */
function KeptAside({ download }) {
  const { downloads } = usePanel()
  const { t, bytes } = useI18n()
  const { busy } = useStore(downloads)
  const kept = download.files.flatMap(({ aside }) => (aside ? [aside] : []))
  if (kept.length === 0) return null
  return html`<div class="lib-callout" data-severity="warn">
    <${Icon} name="warn" />
    <div class="lib-callout-text">
      <p>${t('downloads.aside', { count: kept.length, size: bytes(download.aside_size ?? 0) })}</p>
      ${kept.map(({ path }) => html`<p class="lib-entry-path" key=${path}><${MiddleName} text=${path} /><${CopyButton} value=${path} label=${t('files.copyPath')} /></p>`)}
      <p class="lib-callout-actions">
        <${Button} kind="quiet" icon="trash" busy=${busy[download.id] === 'aside'} disabled=${Boolean(busy[download.id])} onClick=${() => downloads.removeAside(download.id)}>${t('downloads.throwAway')}<//>
      </p>
    </div>
  </div>`
}

/** @param {{download: Download}} props */
function Files({ download }) {
  const { t, told, term, bytes } = useI18n()
  if (download.files.length < 2) return null
  return html`<details class="lib-more"><summary><${Icon} name="right" />${t('details.files', { count: download.files.length })}</summary>
    <ul class="lib-plain-list">
      ${download.files.map(
        (file) => html`<li key=${file.path} class="lib-download-file">
          <${MiddleName} text=${file.path} />
          <span class="lib-entry-note">
            ${file.state === 'downloading' && file.size ? t('progress.of', { current: bytes(file.received ?? 0), total: bytes(file.size) }) : [term('downloads.fileState', file.state), bytes(file.size)].join(' · ')}
          </span>
          ${file.reason && html`<span class="lib-bad">${told(file.reason)}</span>`}
        </li>`
      )}
    </ul>
  </details>`
}

/** What the same repository has that may be needed as well. @param {{download: Download}} props */
function Related({ download }) {
  const { downloads, toast } = usePanel()
  const { t, told, bytes, term } = useI18n()
  const { downloads: all } = useStore(downloads)
  const asked = new Set(all.filter(({ provider, repo_id }) => provider === download.provider && repo_id === download.repo_id).flatMap(({ files }) => files.map(({ path }) => path)))
  const open = (download.related ?? []).filter(({ path }) => !asked.has(path))
  if (download.state === 'failed' || open.length === 0) return null
  /** @param {string} path */
  const take = async (path) => {
    try {
      await downloads.start({ provider: download.provider, repo_id: download.repo_id ?? '', ...(download.revision ? { revision: download.revision } : {}), files: [path], link: download.link ?? false })
    } catch (error) {
      toast('error', t('downloads.startFailed'), told(/** @type {Error} */ (error)))
    }
  }
  return html`<details class="lib-more"><summary><${Icon} name="right" />${t('downloads.related', { count: open.length })}</summary>
    <ul class="lib-plain-list">
      ${open.map(
        ({ path, size, subtype }) => html`<li key=${path} class="lib-download-file">
          <${MiddleName} text=${path} />
          <span class="lib-entry-note">${[term('subtype', subtype), bytes(size)].join(' · ')}</span>
          <${Button} kind="quiet" icon="tray" onClick=${() => take(path)}>${t('downloads.take')}<//>
        </li>`
      )}
    </ul>
  </details>`
}

/** @param {{download: Download, named?: boolean}} props `named` is false below something that says the name */
export function DownloadEntry({ download, named = true }) {
  const { downloads, view, details, remote } = usePanel()
  const { t, term, bytes } = useI18n()
  const { busy } = useStore(downloads)
  const { id, state, name, size, received = 0, rate, eta_s, models = [] } = download
  const doing = busy[id]
  const model = models[0]
  const asked = baseName(download.files.find((file) => file.asked !== false)?.path)
  const shown = asked === 'model_index.json' ? name : asked || name
  const moving = state === 'downloading' || state === 'importing'
  const note = { queued: '', downloading: '', waiting: '', importing: '', paused: '', failed: '', done: size ? bytes(size) : '' }[state]
  return html`<li class="lib-job lib-download" data-state=${state} aria-label=${name}>
    <div class="lib-job-head">
      ${moving ? html`<span class="lib-spinner" aria-hidden="true"></span>` : html`<${Icon} name=${ICONS[state] ?? 'activity'} />`}
      ${named && html`<span class="lib-job-title"><${MiddleName} text=${shown} title=${name} /></span>`}
      <span class="lib-job-state">${[term('downloads.state', state), note].filter(Boolean).join(' · ')}</span>
    </div>
    <p class="lib-entry-note">${[term('provider', download.provider), download.repo_id].filter(Boolean).join(' · ')}</p>
    ${state !== 'done' && (state !== 'failed' || received > 0) &&
    html`<${ProgressBar} label=${name}
      progress=${{ current: received, total: size ?? 0, unit: 'bytes', ...(rate && state === 'downloading' ? { rate } : {}), ...(eta_s && state === 'downloading' ? { eta_s } : {}) }} />`}
    <${Reason} download=${download} />
    <${KeptAside} download=${download} />
    <${Files} download=${download} />
    <${Related} download=${download} />
    <div class="lib-job-actions lib-download-actions">
      ${model &&
      html`<${Button} icon="library"
        onClick=${() => {
          remote.close()
          view.go('models')
          details.open(model)
        }}>${t('downloads.show')}<//>`}
      ${(state === 'queued' || state === 'downloading' || state === 'waiting') &&
      html`<${Button} icon="pause" busy=${doing === 'pause'} disabled=${Boolean(doing)} onClick=${() => downloads.pause(id)}>${t('downloads.pause')}<//>`}
      ${(state === 'paused' || state === 'failed' || state === 'waiting') &&
      html`<${Button} icon=${state === 'failed' ? 'refresh' : 'play'} busy=${doing === 'resume'} disabled=${Boolean(doing)} onClick=${() => downloads.resume(id)}>
        ${t({ paused: 'downloads.resume', failed: 'error.retry', waiting: 'banner.tryNow' }[state])}
      <//>`}
      ${state === 'done'
        ? html`<${IconButton} icon="close" label=${t('downloads.dismiss', { name: shown })} disabled=${Boolean(doing)} onClick=${() => downloads.remove(id)} />`
        : state !== 'importing' && html`<${Button} kind="quiet" icon=${state === 'failed' ? 'trash' : 'stop'} busy=${doing === 'remove'} disabled=${Boolean(doing)} onClick=${() => downloads.remove(id)}>${t(state === 'failed' ? 'downloads.remove' : 'action.cancel')}<//>`}
    </div>
  </li>`
}

/** Files on their way, those that wait, and those that came. */
export function DownloadsList() {
  const { downloads } = usePanel()
  const { t } = useI18n()
  const { downloads: all, error } = useStore(downloads)
  useEffect(() => downloads.watch(), [])
  const ordered = [...all.filter((one) => !isResting(one)), ...all.filter(({ state }) => state === 'paused' || state === 'failed'), ...all.filter(({ state }) => state === 'done')]
  if (error && error.status !== 404) return html`<${ErrorBox} compact what=${t('downloads.failedToLoad')} error=${error} onRetry=${downloads.load} />`
  if (ordered.length === 0) return null
  return html`<h3 class="lib-group-title">${t('downloads.title')}</h3>
    <ul class="lib-job-list">${ordered.map((download) => html`<${DownloadEntry} key=${download.id} download=${download} />`)}</ul>`
}
