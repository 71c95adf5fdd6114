import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { consequences } from '../stores/links.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { CancelButton, ResultNumbers } from './jobs-sheet.mjs'
import { Conflicts } from './links-conflicts.mjs'
import { LongList, PageHead, Part, PathLine, Problems } from './links-parts.mjs'
import { Button, Dialog, Empty, ErrorBox, ProgressBar, SkeletonRows } from './parts.mjs'

/** @import { Job, Plan, PlanEntry } from '../types.mjs' */

/** @param {{icon: string, title: string, entries: PlanEntry[], open?: boolean, id: string}} props */
function PlanPart({ entries, ...more }) {
  if (entries.length === 0) return null
  return html`<${Part} ...${more}>
    <${LongList} entries=${entries} row=${(/** @type {PlanEntry} */ entry) => html`<li class="lib-entry" key=${entry.target}><${PathLine} target=${entry.target} source=${entry.source} /></li>`} />
  <//>`
}

/** What is about to happen, in numbers. @param {{will: ReturnType<typeof consequences>}} props */
function Consequences({ will }) {
  const { t, bytes } = useI18n()
  return html`<ul class="lib-consequences">
    ${will.created > 0 && html`<li>${t('links.willCreate', { count: will.created })}</li>`}
    ${will.removed > 0 && html`<li>${t('links.willRemove', { count: will.removed })}</li>`}
    ${will.replaced > 0 && html`<li>${t('links.willReplace', { count: will.replaced, size: bytes(will.freed) })}</li>`}
    ${will.relinked > 0 && html`<li>${t('links.willRelink', { count: will.relinked })}</li>`}
    ${will.overwritten > 0 && html`<li>${t('links.willOverwrite', { count: will.overwritten })}</li>`}
    ${will.renamed > 0 && html`<li>${t('links.willRename', { count: will.renamed })}</li>`}
    ${will.skipped > 0 && html`<li>${t('links.willSkip', { count: will.skipped })}</li>`}
  </ul>`
}

/** What a sync would do, before it does anything. @param {{plan: Plan}} props */
function PlanView({ plan }) {
  const { links, apps } = usePanel()
  const { t } = useI18n()
  const { resolutions, defaultResolution, applying, applyError, previewOf, stale } = useStore(links)
  useStore(apps)
  const [asking, setAsking] = useState(false)
  const will = consequences(plan, resolutions, defaultResolution)
  const app = apps.find(previewOf)
  const nothing = will.total === 0 && plan.conflicts.length === 0
  useEffect(() => {
    if (applyError) setAsking(false)
  }, [applyError])
  return html`
    <div class="lib-place-body">
      <${PageHead} title=${app ? t('links.planFor', { name: app.name || app.app }) : t('links.plan')} onBack=${links.leavePlan} />
      ${stale && html`<p class="lib-callout" data-severity="warn" role="status"><${Icon} name="refresh" /><span>${t('links.stale')}</span></p>`}
      <${Problems} title=${t('links.planErrors')} problems=${plan.errors} severity="error" />
      <${Problems} title=${t('links.planWarnings')} problems=${plan.warnings} severity="warn" />
      ${nothing && (plan.to_skip_exists.length > 0
        ? html`<${Empty} icon="check" title=${t('links.upToDate')} text=${t('links.already', { count: plan.to_skip_exists.length })} />`
        : html`<${Empty} icon="link" title=${t('links.nothing')} text=${t('links.nothingText')} />`)}
      <${Conflicts} plan=${plan} />
      <${PlanPart} id="create" icon="plus" title=${t('links.toCreate', { count: plan.to_create.length })} entries=${plan.to_create} open=${plan.to_create.length <= 20} />
      <${PlanPart} id="broken" icon="unlink" title=${t('links.broken', { count: plan.broken_to_remove.length })} entries=${plan.broken_to_remove} />
      <${PlanPart} id="orphaned" icon="unlink" title=${t('links.orphaned', { count: plan.orphaned_to_remove.length })} entries=${plan.orphaned_to_remove} />
      ${!nothing && html`<${PlanPart} id="already" icon="check" title=${t('links.already', { count: plan.to_skip_exists.length })} entries=${plan.to_skip_exists} />`}
    </div>
    ${!nothing && html`<footer class="lib-place-foot">
      ${applyError && html`<${ErrorBox} compact what=${t('links.applyFailed')} error=${applyError} onRetry=${() => links.preview(previewOf ?? '')} />`}
      <${Button} kind="primary" icon="link" disabled=${will.total === 0} busy=${applying} onClick=${() => setAsking(true)}>${t('links.apply', { count: will.total })}<//>
    </footer>`}
    ${asking && html`<${Dialog}
      title=${t('links.confirmTitle')}
      confirm=${t('links.apply', { count: will.total })}
      kind=${will.overwritten ? 'danger' : 'primary'}
      busy=${applying}
      onCancel=${() => setAsking(false)}
      onConfirm=${async () => {
        await links.apply()
        setAsking(false)
      }}
    >
      <${Consequences} will=${will} />
      <p class="lib-note">${t(will.overwritten ? 'links.confirmTrash' : 'links.confirmNote')}</p>
    <//>`}
  `
}

/** A sync under way, and what became of it. @param {{job: Job | null}} props */
function Result({ job }) {
  const { links, apps } = usePanel()
  const { t, term } = useI18n()
  const ended = job !== null && hasEnded(job)
  const title = !ended ? t('links.running') : job.state === 'done' ? t('links.done') : term('jobs.state', job.state)
  const unreachable = job?.result?.unreachable ?? []
  return html`<div class="lib-place-body">
    <h2 class="lib-place-title" tabindex="-1" data-page-title aria-live="polite">${title}</h2>
    ${!ended && html`<${ProgressBar} progress=${job?.progress} label=${title} />${job && html`<div class="lib-actions"><${CancelButton} id=${job.id} /></div>`}`}
    ${job?.error && html`<${ErrorBox} what=${t('links.applyFailed')} error=${{ code: job.error.code, title: '', detail: job.error.message, said: job.error.said }} />`}
    ${ended && html`<${ResultNumbers} job=${job} />
      <${Problems} title=${t('links.unreachable', { count: unreachable.length })} problems=${unreachable} severity="warn" />
      <div class="lib-actions"><${Button} kind="primary" icon="check" onClick=${() => {
        links.leavePlan()
        void apps.load()
      }}>${t('links.finish')}<//></div>`}
  </div>`
}

/** A preview, from the question to what became of it; nothing while there is none. */
export function Planning() {
  const { links, jobs } = usePanel()
  const { t } = useI18n()
  const { plan, planError, previewOf, stale, jobId } = useStore(links)
  useStore(jobs)
  if (jobId) return html`<${Result} job=${jobs.find(jobId)} />`
  if (plan) return html`<${PlanView} plan=${plan} />`
  return html`<div class="lib-place-body" aria-busy=${planError ? 'false' : 'true'}>
    <${PageHead} title=${planError ? t('links.plan') : t('links.previewing')} onBack=${links.leavePlan} />
    ${planError
      ? html`<${ErrorBox} what=${t('links.previewFailed')} error=${planError} onRetry=${() => links.preview(previewOf ?? '')} />`
      : html`${stale && html`<p class="lib-note" role="status">${t('links.stale')}</p>`}<${SkeletonRows} count=${6} />`}
  </div>`
}
