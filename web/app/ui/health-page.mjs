import { html, useState } from '../../vendor/htm-preact.mjs'
import { CLEANABLE } from '../stores/health.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { CancelButton } from './jobs-sheet.mjs'
import { LongList, PageHead, Part, PathLine, Problems } from './links-parts.mjs'
import { Button, Dialog, Empty, ErrorBox, IconButton, ProgressBar, SkeletonRows } from './parts.mjs'

/** @import { Cleanable, HealthReport } from '../stores/health.mjs' */

/** Kinds of trouble, the worst first. `clean` is what may be cleaned; the rest is only listed. */
const GROUPS = /** @type {const} */ ([
  { id: 'broken', list: 'broken_links', icon: 'unlink', tone: 'bad' },
  { id: 'orphaned', list: 'orphaned_links', icon: 'unsure', tone: 'warn' },
  { id: 'ghosts', list: 'ghost_apps', icon: 'folder', tone: 'warn' },
  { id: 'missing', list: 'missing_files', icon: 'link', tone: 'warn' },
  { id: 'changed', list: 'changed_links', icon: 'modified', tone: 'warn' },
  { id: 'unreachable', list: 'unreachable', icon: 'offline', tone: '' },
  { id: 'others', list: 'others_broken', icon: 'eye', tone: '' }
])

const KINDS = /** @type {Cleanable[]} */ (Object.keys(CLEANABLE))

/** @param {HealthReport} report @param {Cleanable} kind */
const countOf = (report, kind) => report[CLEANABLE[kind]].length

/** What cleaning will do, kind by kind, before it does it. @param {{report: HealthReport, kinds: Cleanable[], onClose: () => void}} props */
function CleanDialog({ report, kinds, onClose }) {
  const { health } = usePanel()
  const { t } = useI18n()
  const { cleaning, cleanError } = useStore(health)
  const [chosen, setChosen] = useState(kinds)
  const there = KINDS.filter((kind) => countOf(report, kind) > 0)
  const total = chosen.reduce((sum, kind) => sum + countOf(report, kind), 0)
  const confirm = async () => {
    if (await health.clean(chosen)) onClose()
  }
  return html`<${Dialog} title=${t('health.cleanTitle')} confirm=${t('health.cleanCount', { count: total })} kind="danger" busy=${cleaning} disabled=${total === 0}
    onConfirm=${confirm} onCancel=${onClose}>
    <fieldset class="lib-choices">
      <legend>${t('health.cleanWhat')}</legend>
      ${there.map((kind) => html`<label class="lib-choice lib-choice-tall" key=${kind}>
        <input type="checkbox" checked=${chosen.includes(kind)} onChange=${() => setChosen(chosen.includes(kind) ? chosen.filter((other) => other !== kind) : [...chosen, kind])} />
        <span>${t(`health.group.${kind}`, { count: countOf(report, kind) })}<small>${t(`health.does.${kind}`, { count: countOf(report, kind), links: report.ghost_apps.reduce((sum, { links }) => sum + links, 0) })}</small></span>
      </label>`)}
    </fieldset>
    <p class="lib-note">${t('health.cleanNote')}</p>
    ${cleanError && html`<${ErrorBox} compact what=${t('health.cleanFailed')} error=${cleanError} onRetry=${confirm} />`}
  <//>`
}

/** A repair under way, and what became of it. */
function Repair() {
  const { health, jobs } = usePanel()
  const { t, term } = useI18n()
  const { repairJobId, repairError } = useStore(health)
  useStore(jobs)
  if (repairError) return html`<${ErrorBox} compact what=${t('health.repairFailed')} error=${repairError} onRetry=${health.repair} />`
  if (!repairJobId) return null
  const job = jobs.find(repairJobId)
  if (!job || !hasEnded(job)) {
    return html`<div class="lib-health-work"><p>${t('health.repairing')}</p><${ProgressBar} progress=${job?.progress} label=${t('health.repairing')} />
      ${job && html`<div class="lib-actions"><${CancelButton} id=${job.id} /></div>`}</div>`
  }
  if (job.state === 'failed') return html`<${ErrorBox} compact what=${t('health.repairFailed')} error=${{ code: job.error?.code, title: '', detail: job.error?.message, said: job.error?.said }} onRetry=${health.repair} />`
  const { repaired = 0, failed = [] } = job.result ?? {}
  return html`<div class="lib-callout" data-severity=${failed.length > 0 ? 'warn' : 'success'} role="status">
    <${Icon} name=${failed.length > 0 ? 'warn' : 'check'} />
    <div><strong>${job.state === 'done' ? t('health.repaired', { count: repaired }) : term('jobs.state', job.state)}</strong>
      ${failed.length > 0 && html`<p>${t('health.notRepaired', { count: failed.length })}</p>
        <${LongList} entries=${failed} row=${(/** @type {any} */ one) => html`<li class="lib-entry" key=${one.link_id}><${PathLine} target=${one.target} note=${one.problem} /></li>`} />`}
    </div>
  </div>`
}

/** What was cleaned. */
function Cleaned() {
  const { health } = usePanel()
  const { t } = useI18n()
  const { cleaned } = useStore(health)
  if (!cleaned) return null
  const said = KINDS.filter((kind) => cleaned[kind] > 0).map((kind) => t(`health.cleaned.${kind}`, { count: cleaned[kind] }))
  return html`<p class="lib-callout" data-severity="success" role="status"><${Icon} name="check" /><span>${said.join(' ') || t('health.cleanedNothing')}</span></p>
    <${Problems} title=${t('result.errors', { count: cleaned.errors.length })} problems=${cleaned.errors} severity="error" />`
}

/** Everything about how the links do, and what can be done about it. */
export function HealthPage() {
  const { health, links } = usePanel()
  const { t } = useI18n()
  const { report, loading, error, startingRepair, repairJobId } = useStore(health)
  const { jobs } = usePanel()
  useStore(jobs)
  const [cleaning, setCleaning] = useState(/** @type {Cleanable[] | null} */ (null))
  const job = jobs.find(repairJobId)
  const repairing = startingRepair || (job !== null && !hasEnded(job))
  const cleanable = report ? KINDS.filter((kind) => countOf(report, kind) > 0) : []
  const listed = report ? GROUPS.filter(({ list }) => report[list].length > 0) : []
  return html`<div class="lib-place-body">
    <${PageHead} title=${t('health.title')} onBack=${() => links.open('apps')}>
      <${IconButton} icon="refresh" label=${t('health.again')} class=${loading ? 'is-turning' : ''} disabled=${loading} onClick=${health.load} />
    <//>
    ${error && html`<${ErrorBox} what=${t('health.failed')} error=${error} onRetry=${health.load} />`}
    <${Repair} /><${Cleaned} />
    ${!report && loading && html`<${SkeletonRows} count=${4} />`}
    ${report && !error && report.total_issues === 0 && html`<${Empty} icon="check" title=${t('health.healthy')} text=${t('health.healthyText')} />`}
    ${report && report.total_issues > 0 &&
    html`<p class="lib-note">${t(`health.status.${report.status}`)}</p>
      <div class="lib-actions">
        ${report.broken_links.length > 0 && html`<${Button} kind="primary" icon="spark" busy=${repairing} onClick=${health.repair}>${t('health.repair', { count: report.broken_links.length })}<//>`}
        ${cleanable.length > 0 && html`<${Button} icon="trash" disabled=${repairing} onClick=${() => setCleaning(cleanable)}>${t('health.clean')}<//>`}
        ${report.broken_links.length > 0 && html`<${Button} icon="folder" onClick=${() => links.open('move')}>${t('move.open')}<//>`}
      </div>`}
    ${report && listed.map(
      ({ id, list, icon, tone }) => html`<${Part} key=${id} id=${id} icon=${icon} tone=${tone} open=${tone !== ''} title=${t(`health.group.${id}`, { count: report[list].length })}>
        <p class="lib-note">${t(`health.what.${id}`)}</p>
        <${LongList} entries=${report[list]} row=${(/** @type {any} */ one) =>
          html`<li class="lib-entry" key=${one.target ?? one.app}><${PathLine} target=${one.target ?? one.root} source=${one.source} note=${id === 'ghosts' ? t('links.count', { count: one.links }) : undefined} /></li>`} />
        ${id in CLEANABLE && html`<div class="lib-actions"><${Button} icon="trash" disabled=${repairing} onClick=${() => setCleaning([/** @type {Cleanable} */ (id)])}>${t(`health.cleanOne.${id}`, { count: report[list].length })}<//></div>`}
      <//>`
    )}
    ${cleaning && report && html`<${CleanDialog} report=${report} kinds=${cleaning} onClose=${() => setCleaning(null)} />`}
  </div>`
}
