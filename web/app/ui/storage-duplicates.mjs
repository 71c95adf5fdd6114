import { html, useState } from '../../vendor/htm-preact.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { bytesByLinks, toShare, wayOf } from '../stores/storage.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { CancelButton } from './jobs-sheet.mjs'
import { LongList } from './links-parts.mjs'
import { Button, Dialog, ErrorBox, MiddleName, ProgressBar } from './parts.mjs'

/** @import { DuplicateFile, DuplicateGroup, Replacement, SharePlan } from '../stores/storage.mjs' */

/** @param {{file: {path: string}, note: string, tone?: string}} props */
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
  const sharing = toShare([group])
  const win = group.size_bytes * way.copies.length + sharing.bytes
  const [first] = group.files
  /** @param {DuplicateFile} file */
  const note = (file) => {
    if (file === way.keeper) return t(way.moves ? 'duplicates.keepMove' : 'duplicates.keep')
    if (way.copies.includes(file)) return t('duplicates.copy')
    if (file.can_share) return t('duplicates.canShare')
    return t(file.model_format === 'single-file' ? 'duplicates.second' : 'duplicates.part')
  }
  return html`<details class="lib-plan-part" data-group=${group.sha256.slice(0, 8)}>
    <summary><${Icon} name="right" /><span class="lib-group-name"><${MiddleName} text=${first?.official_name ?? ''} /></span>
      <span class="lib-bar-numbers">${t('duplicates.times', { count: group.files.length, size: bytes(group.size_bytes) })}</span></summary>
    <div class="lib-part-body">
      <ul class="lib-entries">${group.files.map((file) => html`<${CopyLine} key=${file.path} file=${file} note=${note(file)} tone=${file === way.keeper ? 'keep' : ''} />`)}</ul>
      ${way.copies.length + sharing.count > 0
        ? html`<${Button} icon="link" disabled=${preparing || starting || jobIds.length > 0} onClick=${() => storage.prepare([group])}>
            ${sharing.count > 0 ? t('duplicates.storeOnce', { size: bytes(win) }) : t('duplicates.replace', { count: way.copies.length, size: bytes(win) })}<//>`
        : html`<p class="lib-note">${t(group.files.every((file) => file.storage === 'owned') ? 'duplicates.ownedOnly' : 'duplicates.partsOnly')}</p>
          ${group.files.slice(0, 2).map((file) => html`<${Button} key=${file.path} icon="box" onClick=${() => {
            details.open(file.model_id)
            view.go('models')
          }}>${t('duplicates.open', { name: file.official_name })}<//>`)}`}
    </div>
  </details>`
}

/** What sharing does with the library's own files. @param {{share: SharePlan}} props */
function Shared({ share }) {
  const { t, bytes } = useI18n()
  const ways = /** @type {const} */ ([['clone', 'duplicates.willClone'], ['hardlink', 'duplicates.willHardLink']])
  return html`
    ${ways.map(([way, words]) => {
      const files = share.files.filter((file) => file.way === way)
      return files.length > 0 && html`<li key=${way}>${t(words, { count: files.length, size: bytes(files.reduce((sum, file) => sum + file.bytes_to_win, 0)) })}</li>`
    })}
    ${share.left.length > 0 && html`<li>${t('duplicates.willLeave', { count: share.left.length })}</li>`}
  `
}

/** What storing equal files once will do, before it is done. @param {{replacement: Replacement}} props */
function ReplaceDialog({ replacement }) {
  const { storage } = usePanel()
  const { t, bytes } = useI18n()
  const { starting, replaceError } = useStore(storage)
  const [trusted, setTrusted] = useState(false)
  const { plan, byPlan, byAdoption, moved, share, pickles } = replacement
  const copies = [...byPlan, ...byAdoption]
  const removed = (plan?.broken_to_remove.length ?? 0) + (plan?.orphaned_to_remove.length ?? 0)
  const shared = share?.files ?? []
  const count = copies.length + shared.length
  const entries = [
    ...moved.map((file) => ({ file, note: t('duplicates.moved') })),
    ...copies.map(({ file, keeper }) => ({ file, note: t('duplicates.leadsTo', { path: keeper.storage === 'owned' ? keeper.path : keeper.official_name }) })),
    ...shared.map((file) => ({ file, note: t(file.way === 'clone' ? 'duplicates.cloneOf' : 'duplicates.nameOf', { path: file.keeper }) })),
    ...(share?.left ?? []).map((file) => ({ file, note: t('duplicates.stays', { reason: file.reason }) }))
  ]
  return html`<${Dialog} title=${t(share ? 'duplicates.titleOnce' : 'duplicates.title')} confirm=${t(share ? 'duplicates.confirmOnce' : 'duplicates.confirm', { count })} busy=${starting}
    disabled=${count === 0 || (pickles > 0 && !trusted)} onConfirm=${() => storage.replace(trusted)} onCancel=${storage.leave}>
    <ul class="lib-consequences">
      ${copies.length > 0 && html`<li>${t('duplicates.willReplace', { count: copies.length, size: bytes(replacement.bytes) })}</li>`}
      ${moved.length > 0 && html`<li>${t('duplicates.willMove', { count: moved.length })}</li>`}
      ${plan && plan.to_create.length > 0 && html`<li>${t('links.willCreate', { count: plan.to_create.length })}</li>`}
      ${removed > 0 && html`<li>${t('links.willRemove', { count: removed })}</li>`}
      ${share && html`<${Shared} share=${share} />`}
    </ul>
    ${shared.some(({ way }) => way === 'hardlink') && html`<div class="lib-callout" data-severity="warn"><${Icon} name="warn" /><div>${t('duplicates.hardLinks')}</div></div>`}
    <${LongList} entries=${entries} row=${(/** @type {{file: {path: string}, note: string}} */ one) => html`<${CopyLine} key=${one.file.path} file=${one.file} note=${one.note} />`} />
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
      ${running.map((job) => html`<${ProgressBar} key=${job.id} progress=${job.progress} label=${t('duplicates.running')} /><${CancelButton} id=${job.id} />`)}</div>`}
    ${replaceError && !replacement && html`<${ErrorBox} compact what=${t('duplicates.failed')} error=${replaceError} onDismiss=${storage.dismissOutcome} />`}
    ${outcome && html`<div class="lib-callout" role="status" data-severity=${trouble ? 'warn' : 'info'}><${Icon} name=${trouble ? 'warn' : 'check'} /><div>
      ${(outcome.replaced > 0 || outcome.shared === 0) && html`<strong>${t('duplicates.done', { count: outcome.replaced, size: bytes(outcome.bytes) })}</strong>`}
      ${outcome.shared > 0 && html`<p><strong>${t('duplicates.shared', { count: outcome.shared, size: bytes(outcome.sharedBytes) })}</strong></p>`}
      ${outcome.remaining.length > 0 && html`<p>${t('duplicates.remaining', { count: outcome.remaining.length })}</p>`}
      ${outcome.problems.length > 0 && html`<ul class="lib-plain-list">${outcome.problems.slice(0, 20).map((problem) => html`<li>${problem}</li>`)}</ul>`}
      <${Button} icon="check" onClick=${storage.dismissOutcome}>${t('action.dismiss')}<//>
    </div></div>`}
  `
}

/** The same bytes more than once, and what would give the room back. */
export function Duplicates() {
  const { storage, jobs } = usePanel()
  const { t, bytes } = useI18n()
  const { duplicates, duplicatesError, preparing, replacement, jobIds } = useStore(storage)
  const hashing = useStore(jobs).jobs.find((job) => job.kind === 'hash' && !hasEnded(job))
  const groups = duplicates?.groups ?? []
  const win = duplicates ? bytesByLinks(duplicates) : 0
  const copies = groups.reduce((sum, group) => sum + wayOf(group).copies.length, 0)
  const sharing = toShare(groups)
  return html`<section class="lib-section" data-chart="duplicates">
    <header><h3>${t('duplicates.heading')}</h3></header>
    ${duplicatesError && html`<${ErrorBox} compact what=${t('duplicates.failedToLoad')} error=${duplicatesError} onRetry=${storage.load} />`}
    <${Progress} />
    ${duplicates && groups.length === 0 && html`<p class="lib-note">${t(duplicates.files_to_hash > 0 ? 'duplicates.notYet' : 'duplicates.none')}</p>`}
    ${copies + sharing.count > 0 && html`<div class="lib-callout lib-copies" data-severity="info"><div>
      ${copies > 0 && html`<p>${t('duplicates.sum', { count: copies, size: bytes(win) })}</p>`}
      ${sharing.count > 0 && html`<p>${t('duplicates.sumShare', { count: sharing.count, size: bytes(sharing.bytes) })}</p>`}
      <${Button} kind="primary" icon="link" busy=${preparing} disabled=${jobIds.length > 0} onClick=${() => storage.prepare(groups)}>${t(sharing.count > 0 ? 'duplicates.storeAllOnce' : 'duplicates.replaceAll')}<//>
    </div></div>`}
    ${hashing
      ? html`<p class="lib-note">${t('duplicates.hashing')}</p><${ProgressBar} progress=${hashing.progress} label=${t('duplicates.hashing')} />`
      : duplicates && duplicates.files_to_hash > 0 && html`<p class="lib-note">${t('duplicates.toHash', { count: duplicates.files_to_hash })}</p>`}
    ${groups.length > 0 && html`<${LongList} entries=${groups} row=${(/** @type {DuplicateGroup} */ group) => html`<li key=${group.sha256}><${Group} group=${group} /></li>`} />`}
    ${replacement && html`<${ReplaceDialog} replacement=${replacement} />`}
  </section>`
}
