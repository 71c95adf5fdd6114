import { html, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { bytesByLinks, wayOf } from '../stores/storage.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { LongList } from './links-parts.mjs'
import { Button, Dialog, ErrorBox, MiddleName, ProgressBar } from './parts.mjs'

/** @import { DuplicateFile, DuplicateGroup, Replacement } from '../stores/storage.mjs' */

/** @param {{file: DuplicateFile, note: string, tone?: string}} props */
function CopyLine({ file, note, tone = '' }) {
  return html`<li class="lib-entry"><${Icon} name=${tone === 'keep' ? 'check' : 'file'} />
    <div class="lib-entry-text"><${MiddleName} text=${file.path} /><span class="lib-entry-note">${note}</span></div>
  </li>`
}

/** @param {{group: DuplicateGroup}} props */
function Group({ group }) {
  const { storage, details, view } = usePanel()
  const { t, bytes } = useI18n()
  const { preparing, starting, jobIds } = useStore(storage)
  const way = wayOf(group)
  const win = group.size_bytes * way.copies.length
  const [first] = group.files
  /** @param {DuplicateFile} file */
  const note = (file) => {
    if (file === way.keeper) return t(way.moves ? 'duplicates.keepMove' : 'duplicates.keep')
    if (way.copies.includes(file)) return t('duplicates.copy')
    return t(file.model_format === 'single-file' ? 'duplicates.second' : 'duplicates.part')
  }
  return html`<details class="lib-plan-part" data-group=${group.sha256.slice(0, 8)}>
    <summary><${Icon} name="right" /><span class="lib-group-name"><${MiddleName} text=${first?.official_name ?? ''} /></span>
      <span class="lib-bar-numbers">${t('duplicates.times', { count: group.files.length, size: bytes(group.size_bytes) })}</span></summary>
    <div class="lib-part-body">
      <ul class="lib-entries">${group.files.map((file) => html`<${CopyLine} key=${file.path} file=${file} note=${note(file)} tone=${file === way.keeper ? 'keep' : ''} />`)}</ul>
      ${way.copies.length > 0
        ? html`<${Button} icon="link" disabled=${preparing || starting || jobIds.length > 0} onClick=${() => storage.prepare([group])}>${t('duplicates.replace', { count: way.copies.length, size: bytes(win) })}<//>`
        : html`<p class="lib-note">${t(group.files.every((file) => file.storage === 'owned') ? 'duplicates.ownedOnly' : 'duplicates.partsOnly')}</p>
          ${group.files.slice(0, 2).map((file) => html`<${Button} key=${file.path} icon="box" onClick=${() => {
            details.open(file.model_id)
            view.go('models')
          }}>${t('duplicates.open', { name: file.official_name })}<//>`)}`}
    </div>
  </details>`
}

/** What links in the place of copies will do, before they do it. @param {{replacement: Replacement}} props */
function ReplaceDialog({ replacement }) {
  const { storage } = usePanel()
  const { t, bytes } = useI18n()
  const { starting, replaceError } = useStore(storage)
  const [trusted, setTrusted] = useState(false)
  const { plan, byPlan, byAdoption, moved, pickles } = replacement
  const copies = [...byPlan, ...byAdoption]
  const removed = (plan?.broken_to_remove.length ?? 0) + (plan?.orphaned_to_remove.length ?? 0)
  return html`<${Dialog} title=${t('duplicates.title')} confirm=${t('duplicates.confirm', { count: copies.length })} busy=${starting}
    disabled=${pickles > 0 && !trusted} onConfirm=${() => storage.replace(trusted)} onCancel=${storage.leave}>
    <ul class="lib-consequences">
      <li>${t('duplicates.willReplace', { count: copies.length, size: bytes(replacement.bytes) })}</li>
      ${moved.length > 0 && html`<li>${t('duplicates.willMove', { count: moved.length })}</li>`}
      ${plan && plan.to_create.length > 0 && html`<li>${t('links.willCreate', { count: plan.to_create.length })}</li>`}
      ${removed > 0 && html`<li>${t('links.willRemove', { count: removed })}</li>`}
    </ul>
    <${LongList} entries=${[...moved.map((file) => ({ file, note: t('duplicates.moved') })), ...copies.map(({ file, keeper }) => ({ file, note: t('duplicates.leadsTo', { path: keeper.storage === 'owned' ? keeper.path : keeper.official_name }) }))]}
      row=${(/** @type {{file: DuplicateFile, note: string}} */ one) => html`<${CopyLine} key=${one.file.path} file=${one.file} note=${one.note} />`} />
    <p class="lib-note">${t('duplicates.compared')}</p>
    ${pickles > 0 && html`<label class="lib-choice"><input type="checkbox" checked=${trusted} onChange=${(/** @type {any} */ event) => setTrusted(event.target.checked)} />
      <span>${t('bulk.pickles', { count: pickles })}</span></label>`}
    ${replaceError && html`<${ErrorBox} compact what=${t('duplicates.failed')} error=${replaceError} />`}
  <//>`
}

/** How far the replacement under way is, or what became of the last one. */
function Progress() {
  const { storage, jobs } = usePanel()
  const { t, bytes } = useI18n()
  const { jobIds, outcome, replaceError, replacement } = useStore(storage)
  const running = useStore(jobs).jobs.filter((job) => jobIds.includes(job.id) && !hasEnded(job))
  const trouble = (outcome?.remaining.length ?? 0) + (outcome?.problems.length ?? 0)
  return html`
    ${jobIds.length > 0 && html`<div role="status"><p class="lib-note">${t('duplicates.running')}</p>
      ${running.map((job) => html`<${ProgressBar} key=${job.id} progress=${job.progress} label=${t('duplicates.running')} />`)}</div>`}
    ${replaceError && !replacement && html`<${ErrorBox} compact what=${t('duplicates.failed')} error=${replaceError} onDismiss=${storage.dismissOutcome} />`}
    ${outcome && html`<div class="lib-callout" role="status" data-severity=${trouble ? 'warn' : 'info'}><${Icon} name=${trouble ? 'warn' : 'check'} /><div>
      <strong>${t('duplicates.done', { count: outcome.replaced, size: bytes(outcome.bytes) })}</strong>
      ${outcome.remaining.length > 0 && html`<p>${t('duplicates.remaining', { count: outcome.remaining.length })}</p>`}
      ${outcome.problems.length > 0 && html`<ul class="lib-plain-list">${outcome.problems.slice(0, 20).map((problem) => html`<li>${problem}</li>`)}</ul>`}
      <${Button} icon="check" onClick=${storage.dismissOutcome}>${t('action.dismiss')}<//>
    </div></div>`}
  `
}

/** The same bytes more than once, and links that would give the room back. */
export function Duplicates() {
  const { storage, jobs } = usePanel()
  const { t, bytes } = useI18n()
  const { duplicates, duplicatesError, preparing, replacement, jobIds } = useStore(storage)
  const hashing = useStore(jobs).jobs.find((job) => job.kind === 'hash' && !hasEnded(job))
  const groups = duplicates?.groups ?? []
  const win = duplicates ? bytesByLinks(duplicates) : 0
  const copies = groups.reduce((sum, group) => sum + wayOf(group).copies.length, 0)
  return html`<section class="lib-section" data-chart="duplicates">
    <header><h3>${t('duplicates.heading')}</h3></header>
    ${duplicatesError && html`<${ErrorBox} compact what=${t('duplicates.failedToLoad')} error=${duplicatesError} onRetry=${storage.load} />`}
    <${Progress} />
    ${duplicates && groups.length === 0 && html`<p class="lib-note">${t(duplicates.files_to_hash > 0 ? 'duplicates.notYet' : 'duplicates.none')}</p>`}
    ${copies > 0 && html`<div class="lib-callout lib-copies" data-severity="info"><div>
      ${t('duplicates.sum', { count: copies, size: bytes(win) })}
      <${Button} kind="primary" icon="link" busy=${preparing} disabled=${jobIds.length > 0} onClick=${() => storage.prepare(groups)}>${t('duplicates.replaceAll')}<//>
    </div></div>`}
    ${hashing
      ? html`<p class="lib-note">${t('duplicates.hashing')}</p><${ProgressBar} progress=${hashing.progress} label=${t('duplicates.hashing')} />`
      : duplicates && duplicates.files_to_hash > 0 && html`<p class="lib-note">${t('duplicates.toHash', { count: duplicates.files_to_hash })}</p>`}
    ${groups.length > 0 && html`<${LongList} entries=${groups} row=${(/** @type {DuplicateGroup} */ group) => html`<li key=${group.sha256}><${Group} group=${group} /></li>`} />`}
    ${replacement && html`<${ReplaceDialog} replacement=${replacement} />`}
  </section>`
}
