import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { consequences } from '../stores/links.mjs'
import { baseName } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { CancelButton, ResultNumbers, sayProblem } from './jobs-sheet.mjs'
import { Button, Dialog, Empty, ErrorBox, MiddleName, ProgressBar, SkeletonRows } from './parts.mjs'

/** @import { Resolution } from '../stores/links.mjs' */
/** @import { Job, LibrarianApp, Plan, PlanEntry } from '../types.mjs' */

/** How many entries of a list are drawn at a time. */
const STEP = 50
const RESOLUTIONS = /** @type {const} */ (['skip', 'overwrite', 'rename'])

/** @param {{app: LibrarianApp}} props */
function AppCard({ app }) {
  const { links } = usePanel()
  const { t } = useI18n()
  const folders = Object.keys(app.folders ?? {}).length
  return html`<li class="lib-app">
    <div class="lib-app-text">
      <strong>${app.name || app.app}</strong>
      ${app.root && html`<${MiddleName} class="lib-entry-note" text=${app.root} />`}
      <span class="lib-entry-note">${t('links.folders', { count: folders })} · ${t('links.count', { count: app.links ?? 0 })}</span>
    </div>
    <${Button} onClick=${() => links.preview(app.app)}>${t('links.preview')}<//>
  </li>`
}

function Apps() {
  const { links } = usePanel()
  const { t } = useI18n()
  const { apps, loading, error } = useStore(links)
  return html`<div class="lib-place-body">
    <h2 class="lib-place-title">${t('links.title')}</h2>
    <p class="lib-note">${t('links.intro')}</p>
    ${error && html`<${ErrorBox} what=${t('links.failed')} error=${error} onRetry=${links.load} />`}
    ${!apps && loading && html`<${SkeletonRows} count=${2} />`}
    ${apps && apps.length === 0 && html`<${Empty} icon="link" title=${t('links.noApps')} text=${t('links.noAppsText')} />`}
    ${apps && apps.length > 0 && html`
      <ul class="lib-apps">${apps.map((app) => html`<${AppCard} key=${app.app} app=${app} />`)}</ul>
      ${apps.length > 1 && html`<div class="lib-actions"><${Button} kind="primary" icon="link" onClick=${() => links.preview('')}>${t('links.previewAll')}<//></div>`}
    `}
  </div>`
}

/** A part of the plan that can be opened. @param {{icon: string, title: string, entries: PlanEntry[], open?: boolean, tone?: string, id: string}} props */
function PlanPart({ icon, title, entries, open = false, tone = '', id }) {
  const { t } = useI18n()
  const [shown, setShown] = useState(STEP)
  if (entries.length === 0) return null
  return html`<details class="lib-plan-part" open=${open} data-tone=${tone} data-part=${id}>
    <summary><${Icon} name="right" /><${Icon} name=${icon} /><span>${title}</span></summary>
    <ul class="lib-entries">
      ${entries.slice(0, shown).map((entry) => html`<li class="lib-entry" key=${entry.target}><${PlanLine} entry=${entry} /></li>`)}
    </ul>
    ${entries.length > shown && html`<${Button} kind="quiet" onClick=${() => setShown(shown + STEP * 4)}>${t('links.showMore', { count: entries.length - shown })}<//>`}
  </details>`
}

/** @param {{entry: PlanEntry}} props */
function PlanLine({ entry }) {
  const source = entry.source ?? entry['source_path']
  return html`<div class="lib-entry-text">
    <${MiddleName} text=${baseName(entry.target)} title=${entry.target} />
    <${MiddleName} class="lib-entry-note" text=${entry.target} />
    ${source && html`<span class="lib-entry-note lib-arrow"><${Icon} name="right" /><${MiddleName} text=${source} /></span>`}
  </div>`
}

/** @param {{value: Resolution | '', onChange: (value: Resolution) => void, label: string, mixed?: boolean}} props */
function ResolutionSelect({ value, onChange, label, mixed = false }) {
  const { t } = useI18n()
  return html`<select class="lib-input lib-resolution" aria-label=${label} value=${mixed ? '' : value}
    onChange=${(/** @type {any} */ event) => event.target.value && onChange(event.target.value)}>
    ${mixed && html`<option value="">${t('links.mixed')}</option>`}
    ${RESOLUTIONS.map((one) => html`<option key=${one} value=${one}>${t(`links.resolution.${one}`)}</option>`)}
  </select>`
}

/** @param {{plan: Plan}} props */
function Conflicts({ plan }) {
  const { links } = usePanel()
  const { t, term, bytes } = useI18n()
  const { resolutions, defaultResolution } = useStore(links)
  const [shown, setShown] = useState(STEP)
  const { conflicts } = plan
  if (conflicts.length === 0) return null
  const mixed = Object.values(resolutions).some((one) => one !== defaultResolution)
  return html`<details class="lib-plan-part" open data-tone="warn" data-part="conflicts">
    <summary><${Icon} name="right" /><${Icon} name="warn" /><span>${t('links.conflicts', { count: conflicts.length })}</span></summary>
    <div class="lib-conflict-all">
      <span>${t('links.forAll')}</span>
      <${ResolutionSelect} value=${defaultResolution} mixed=${mixed} onChange=${links.resolveAll} label=${t('links.forAll')} />
    </div>
    <ul class="lib-entries">
      ${conflicts.slice(0, shown).map(
        (conflict) =>
          html`<li class="lib-entry lib-conflict" key=${conflict.target}>
            <${PlanLine} entry=${conflict} />
            <p class="lib-conflict-reason">
              ${term('links.reason', conflict.reason)}${conflict.reason === 'same_bytes' && (conflict.size_bytes ?? conflict['bytes_freed'])
                ? ` ${t('links.givesBack', { size: bytes(conflict.size_bytes ?? conflict['bytes_freed']) })}`
                : ''}
            </p>
            <${ResolutionSelect}
              value=${resolutions[conflict.target] ?? defaultResolution}
              onChange=${(/** @type {Resolution} */ choice) => links.resolve(conflict.target, choice)}
              label=${t('links.resolve', { name: baseName(conflict.target) })}
            />
          </li>`
      )}
    </ul>
    ${conflicts.length > shown && html`<${Button} kind="quiet" onClick=${() => setShown(shown + STEP * 4)}>${t('links.showMore', { count: conflicts.length - shown })}<//>`}
  </details>`
}

/** @param {{title: string, problems: any[], severity: string}} props */
function Problems({ title, problems, severity }) {
  if (problems.length === 0) return null
  return html`<div class="lib-callout" data-severity=${severity}><${Icon} name=${severity === 'error' ? 'error' : 'warn'} />
    <div><strong>${title}</strong><ul class="lib-plain-list">${problems.slice(0, 20).map((one) => html`<li>${sayProblem(one)}</li>`)}</ul></div>
  </div>`
}

/** @param {{job: Job | null}} props */
function Result({ job }) {
  const { links } = usePanel()
  const { t, term } = useI18n()
  const ended = job !== null && hasEnded(job)
  const title = !ended ? t('links.running') : job.state === 'done' ? t('links.done') : term('jobs.state', job.state)
  return html`<div class="lib-place-body" aria-live="polite">
    <h2 class="lib-place-title">${title}</h2>
    ${!ended && html`<${ProgressBar} progress=${job?.progress} label=${title} />${job && html`<div class="lib-actions"><${CancelButton} id=${job.id} /></div>`}`}
    ${job?.error && html`<${ErrorBox} what=${t('links.applyFailed')} error=${{ code: job.error.code, title: '', detail: job.error.message }} />`}
    ${ended && html`<${ResultNumbers} job=${job} />
      <div class="lib-actions"><${Button} kind="primary" icon="check" onClick=${links.leavePlan}>${t('links.finish')}<//></div>`}
  </div>`
}

/** What a sync would do, before it does anything. @param {{plan: Plan}} props */
function PlanView({ plan }) {
  const { links } = usePanel()
  const { t } = useI18n()
  const { resolutions, defaultResolution, applying, applyError, apps, previewOf } = useStore(links)
  const [asking, setAsking] = useState(false)
  const will = consequences(plan, resolutions, defaultResolution)
  const app = apps?.find((one) => one.app === previewOf)
  const nothing = will.total === 0 && plan.conflicts.length === 0
  useEffect(() => {
    if (applyError) setAsking(false)
  }, [applyError])
  return html`
    <div class="lib-place-body">
      <div class="lib-place-head">
        <button type="button" class="lib-icon-button" aria-label=${t('action.back')} title=${t('action.back')} onClick=${links.leavePlan}><${Icon} name="back" /></button>
        <h2 class="lib-place-title">${app ? t('links.planFor', { name: app.name || app.app }) : t('links.plan')}</h2>
      </div>
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
      <ul class="lib-consequences">
        ${will.created > 0 && html`<li>${t('links.willCreate', { count: will.created })}</li>`}
        ${will.removed > 0 && html`<li>${t('links.willRemove', { count: will.removed })}</li>`}
        ${will.overwritten > 0 && html`<li>${t('links.willOverwrite', { count: will.overwritten })}</li>`}
        ${will.renamed > 0 && html`<li>${t('links.willRename', { count: will.renamed })}</li>`}
        ${will.skipped > 0 && html`<li>${t('links.willSkip', { count: will.skipped })}</li>`}
      </ul>
      <p class="lib-note">${t('links.confirmNote')}</p>
    <//>`}
  `
}

/** Links from apps' folders to the library's models. */
export function LinksPlace() {
  const { links, jobs } = usePanel()
  const { t } = useI18n()
  const { plan, planError, previewing, previewOf, jobId } = useStore(links)
  useStore(jobs)
  useEffect(() => void links.load(), [])
  return html`<section class="lib-column" aria-label=${t('places.links')}>
    ${jobId
      ? html`<${Result} job=${jobs.find(jobId)} />`
      : plan
        ? html`<${PlanView} plan=${plan} />`
        : planError
          ? html`<div class="lib-place-body"><${ErrorBox} what=${t('links.previewFailed')} error=${planError} onRetry=${() => links.preview(previewOf ?? '')} />
              <div class="lib-actions"><${Button} icon="back" onClick=${links.leavePlan}>${t('action.back')}<//></div></div>`
          : previewing
            ? html`<div class="lib-place-body"><h2 class="lib-place-title">${t('links.previewing')}</h2><${SkeletonRows} count=${6} /></div>`
            : html`<${Apps} />`}
  </section>`
}
