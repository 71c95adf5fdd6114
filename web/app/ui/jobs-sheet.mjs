import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { DownloadsList } from './downloads-list.mjs'
import { Icon } from './icons.mjs'
import { Button, Empty, ErrorBox, ProgressBar, Sheet } from './parts.mjs'

/** @import { Job } from '../types.mjs' */

const STATE_ICONS = { done: 'check', failed: 'error', cancelled: 'stop', interrupted: 'warn', queued: 'activity', running: 'activity' }

/** The numbers that a job's result holds, in words; what has no words is left out.
 * @param {{job: Job}} props */
export function ResultNumbers({ job }) {
  const { t, bytes } = useI18n()
  // What an import linked is told in a record of its own.
  const { links, ...own } = job.result ?? {}
  const result = /** @type {Record<string, any>} */ ({ ...links, ...own })
  const said = Object.entries(result)
    .map(([key, value]) => /** @type {[string, any]} */ ([key, Array.isArray(value) && key !== 'errors' ? value.length : value]))
    .filter(([key, value]) => typeof value === 'number' && (value > 0 || key === 'models_indexed'))
    .map(([key, value]) => {
      const text = key === 'bytes_freed' ? t('result.bytes_freed', { size: bytes(value) }) : t(`result.${key}`, { count: value })
      return text.startsWith('result.') ? '' : text
    })
    .filter(Boolean)
  const errors = [links?.errors, own.errors].filter(Array.isArray).flat()
  return html`
    ${said.length > 0 && html`<p class="lib-job-result">${said.join(' · ')}</p>`}
    ${errors.length > 0 &&
    html`<details class="lib-more"><summary><${Icon} name="right" />${t('result.errors', { count: errors.length })}</summary>
      <ul class="lib-plain-list">${errors.slice(0, 200).map((error) => html`<li>${sayProblem(error)}</li>`)}</ul>
    </details>`}
  `
}

/** @param {any} problem a text, or a record with a message @returns {string} */
export const sayProblem = (problem) =>
  typeof problem === 'string'
    ? problem
    : [problem?.target ?? problem?.path ?? problem?.name ?? problem?.model_id, problem?.message ?? problem?.detail ?? problem?.reason ?? problem?.error]
        .filter(Boolean)
        .join(': ') || JSON.stringify(problem)

/** Look for changes, and say if that could not begin. @param {import('../librarian-app.mjs').LibrarianPanel} panel @param {'quick' | 'deep'} kind */
export async function beginScan(panel, kind) {
  const { t, told } = panel.words.get().i18n
  try {
    const { job } = await panel.api.post('/scan', { kind })
    panel.jobs.started(job)
  } catch (error) {
    const failed = /** @type {any} */ (error)
    panel.toast('error', t('scan.failed'), failed.unreachable ? t('error.unreachable') : told(failed))
  }
}

/** Stop a running job, and say when that did not work. @param {{id: string}} props */
export function CancelButton({ id }) {
  const { jobs, toast } = usePanel()
  const { t, told } = useI18n()
  const [asked, setAsked] = useState(false)
  return html`<${Button}
    icon="stop"
    busy=${asked}
    onClick=${async () => {
      setAsked(true)
      try {
        await jobs.cancel(id)
      } catch (error) {
        setAsked(false)
        toast('error', t('jobs.cancelFailed'), told(/** @type {Error} */ (error)))
      }
    }}
  >
    ${asked ? t('jobs.cancelling') : t('action.cancel')}
  <//>`
}

/** @param {{job: Job}} props */
function JobEntry({ job }) {
  const i18n = useI18n()
  const { told, term, date, moment } = i18n
  const ended = hasEnded(job)
  const title = term('jobs.kind', job.kind)
  // What the job itself says is not said again.
  const failed = (job.items ?? []).filter((item) => item.state === 'failed' && item.message !== job.error?.message)
  return html`<li class="lib-job" data-state=${job.state}>
    <div class="lib-job-head">
      ${job.state === 'running' ? html`<span class="lib-spinner" aria-hidden="true"></span>` : html`<${Icon} name=${STATE_ICONS[job.state]} />`}
      <span class="lib-job-title">${title}</span>
      <span class="lib-job-state" title=${ended ? date(job.finished_at ?? job.created_at) : undefined}>${ended ? moment(job.finished_at ?? job.created_at) : term('jobs.stage', job.stage) || term('jobs.state', job.state)}</span>
    </div>
    ${!ended && html`<${ProgressBar} progress=${job.progress} label=${title} /><div class="lib-job-actions"><${CancelButton} id=${job.id} /></div>`}
    ${ended && job.state !== 'done' && html`<p class="lib-job-result">${term('jobs.state', job.state)}${job.error && html`: ${told(job.error)}`}</p>`}
    ${ended && html`<${ResultNumbers} job=${job} />`}
    ${failed.length > 0 && html`<ul class="lib-plain-list">${failed.slice(0, 50).map((item) => html`<li key=${item.name}>${item.name}: ${told(item)}</li>`)}</ul>`}
  </li>`
}

/** Work under way and how the last of it ended. */
export function JobsSheet() {
  const { jobs, view, downloads } = usePanel()
  const { t } = useI18n()
  const { jobs: known, error } = useStore(jobs)
  const { downloads: files } = useStore(downloads)
  // A download tells more of itself than its job does.
  const all = known.filter(({ kind }) => kind !== 'download')
  useEffect(() => void jobs.load(), [])
  const running = all.filter((job) => !hasEnded(job))
  const ended = all.filter(hasEnded).sort((one, other) => (other.finished_at ?? '').localeCompare(one.finished_at ?? ''))
  return html`<${Sheet} title=${t('jobs.title')} onClose=${view.closeSheet} class="lib-side">
    ${error && html`<${ErrorBox} compact what=${t('jobs.failedToLoad')} error=${error} onRetry=${jobs.load} />`}
    <${DownloadsList} />
    ${all.length === 0 && files.length === 0 && !error && html`<${Empty} icon="activity" title=${t('jobs.none')} text=${t('jobs.noneText')} />`}
    ${running.length > 0 && html`<h3 class="lib-group-title">${t('jobs.now')}</h3><ul class="lib-job-list">${running.map((job) => html`<${JobEntry} key=${job.id} job=${job} />`)}</ul>`}
    ${ended.length > 0 && html`<h3 class="lib-group-title">${t('jobs.recent')}</h3><ul class="lib-job-list">${ended.map((job) => html`<${JobEntry} key=${job.id} job=${job} />`)}</ul>`}
  <//>`
}
