import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { CancelButton, ResultNumbers } from './jobs-sheet.mjs'
import { Button, Empty, ErrorBox, IconButton, MiddleName, ProgressBar } from './parts.mjs'

/** @import { Job, JobItem } from '../types.mjs' */

/** Items drawn at once; more on request. */
const PAGE = 60

const ICONS = /** @type {Record<string, string>} */ ({ done: 'check', failed: 'error', skipped: 'info', cancelled: 'stop', queued: 'file' })
/** What wants to be seen comes first; the rest stays in its order. */
const ORDER = /** @type {Record<string, number>} */ ({ failed: 0, running: 1 })

/** @param {{item: JobItem, ended: boolean, alone: boolean}} props */
function Item({ item, ended, alone }) {
  const panel = usePanel()
  const { t, told, term, bytes, percent } = useI18n()
  const { state = 'queued', current = 0, total } = item
  const running = state === 'running' && !ended
  const share = total ? Math.min(1, current / total) : 0
  const note = running
    ? total
      ? t('upload.sent', { sent: bytes(current), size: bytes(total), share: percent(share) })
      : term('jobs.itemState', state)
    : [term('jobs.itemState', ended && state === 'queued' ? 'cancelled' : state), told(item)].filter(Boolean).join(' · ')
  return html`<li class="lib-entry lib-run-item" data-state=${state}>
    ${running ? html`<span class="lib-spinner" aria-hidden="true"></span>` : html`<${Icon} name=${ICONS[state] ?? 'file'} />`}
    <div class="lib-entry-text">
      <${MiddleName} text=${item.name ?? item.model_id ?? ''} />
      <span class=${`lib-entry-note ${state === 'failed' ? 'lib-bad' : ''}`}>${note}</span>
    </div>
    ${item.model_id && ended && !(alone && state === 'done') &&
    html`<${Button} kind="quiet" onClick=${() => {
      panel.view.go('models')
      panel.details.open(/** @type {string} */ (item.model_id))
    }}>${t('import.show')}<//>`}
    ${running && html`<span class="lib-upload-bar" aria-hidden="true"><span style=${{ transform: `scaleX(${share})` }}></span></span>`}
  </li>`
}

/** How many of each. @param {JobItem[]} items */
function countStates(items) {
  const counts = { done: 0, skipped: 0, failed: 0, cancelled: 0 }
  for (const { state } of items) if (state && state in counts) counts[/** @type {keyof typeof counts} */ (state)] += 1
  return counts
}

/** @param {{job: Job, counts: ReturnType<typeof countStates>}} props */
function Afterwards({ job, counts }) {
  const panel = usePanel()
  const { imports } = panel
  const { t } = useI18n()
  const run = useStore(imports).runs.find(({ jobId }) => jobId === job.id)
  const again = run ? imports.failedOf(run, job) : []
  const links = job.result?.links
  const imported = (job.items ?? []).filter(({ state, model_id }) => state === 'done' && model_id)
  return html`
    ${run && again.length > 0 &&
    html`<div class="lib-actions">
      <${Button} kind="primary" icon="refresh" onClick=${() => imports.retry(run, job)}>${t('import.retry', { count: again.length })}<//>
      <${Button} onClick=${() => imports.change(run, job)}>${t('import.changeFirst')}<//>
    </div>`}
    <div class="lib-actions">
      ${imported.length > 0 &&
      html`<${Button} icon="library" onClick=${() => {
        if (imported.length === 1) panel.details.open(/** @type {string} */ (imported[0]?.model_id))
        else {
          panel.search.clearText()
          panel.search.clearFilters()
          panel.search.setSort('newest')
        }
        panel.view.go('models')
      }}>${t('import.showInLibrary')}<//>`}
      ${counts.done > 0 && !links && html`<${Button} icon="link" onClick=${() => panel.view.go('links')}>${t('import.linkNow')}<//>`}
      <${Button} kind=${again.length > 0 ? '' : 'primary'} icon="plus" onClick=${imports.reset}>${t('import.again')}<//>
    </div>
  `
}

/** An import under way, and what became of it. */
export function Run() {
  const { imports, jobs } = usePanel()
  const { t, term } = useI18n()
  const { shown, startError, starting } = useStore(imports)
  useStore(jobs)
  const [listed, setListed] = useState(PAGE)
  const job = jobs.find(shown)
  const ended = job !== null && hasEnded(job)
  useEffect(() => {
    if (ended && shown) imports.markSeen(shown)
  }, [ended, shown])
  if (!job) {
    return html`<${Empty} icon="tray" title=${t('import.lost')} text=${t('import.lostText')}><${Button} onClick=${imports.reset}>${t('import.again')}<//><//>`
  }
  const items = [...(job.items ?? [])].sort((one, other) => (ORDER[one.state ?? ''] ?? 2) - (ORDER[other.state ?? ''] ?? 2))
  const counts = countStates(items)
  const settled = counts.done + counts.skipped + counts.failed + counts.cancelled
  const title = !ended
    ? t('import.running')
    : job.state === 'cancelled' || job.state === 'interrupted'
      ? term('jobs.state', job.state)
      : counts.failed > 0
        ? t('import.doneWithErrors', { count: counts.done, failed: counts.failed })
        : job.state === 'failed'
          ? term('jobs.state', job.state)
          : t('import.done', { count: counts.done })
  return html`<div class="lib-place-body">
    <div class="lib-place-head">
      <${IconButton} icon="back" label=${t('action.back')} onClick=${imports.begin} />
      <h2 class="lib-place-title" tabindex="-1" data-step-title aria-live="polite">${title}</h2>
    </div>
    ${!ended &&
    html`<p class="lib-note">${[
        job.state === 'queued' ? t('import.queued') : term('jobs.stage', job.stage),
        items.length > 1 ? t('import.ofItems', { count: items.length, done: settled }) : ''
      ].filter(Boolean).join(' · ')}</p>
      <${ProgressBar} progress=${job.progress} label=${t('import.running')} />
      <div class="lib-actions"><${CancelButton} id=${job.id} /><${Button} icon="plus" onClick=${imports.reset}>${t('import.again')}<//></div>
      <p class="lib-note">${t('import.cancelText')}</p>`}
    ${startError && html`<${ErrorBox} what=${t('import.startFailed')} error=${startError} />`}
    ${ended && job.error && counts.failed === 0 && html`<${ErrorBox} what=${t('import.failed')} error=${{ code: job.error.code, title: '', detail: job.error.message, said: job.error.said }} />`}
    ${job.state === 'cancelled' && html`<p class="lib-note">${t('import.cancelledText')}</p>`}
    ${ended && counts.skipped > 0 && html`<p class="lib-note">${t('import.skipped', { count: counts.skipped })}</p>`}
    ${ended && job.result?.links && html`<${ResultNumbers} job=${{ ...job, result: { links: job.result.links } }} />`}
    ${ended && !starting && html`<${Afterwards} job=${job} counts=${counts} />`}
    <ul class="lib-entries">${items.slice(0, listed).map((item, at) => html`<${Item} key=${`${item.name}-${at}`} item=${item} ended=${ended} alone=${items.length === 1} />`)}</ul>
    ${items.length > listed && html`<div class="lib-actions"><${Button} onClick=${() => setListed(listed + PAGE)}>${t('import.showMore', { count: Math.min(PAGE, items.length - listed) })}<//></div>`}
  </div>`
}
