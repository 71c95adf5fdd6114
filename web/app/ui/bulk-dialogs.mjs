import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { inverse } from '../stores/bulk.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { SUBTYPES } from './details-sheet.mjs'
import { nameOf } from './model-list.mjs'
import { Dialog, ErrorBox, ProgressBar, SkeletonRows, errorWords } from './parts.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { Change } from '../stores/bulk.mjs' */
/** @import { ModelRow, Plan } from '../types.mjs' */
/** @typedef {{rows: ModelRow[], onClose: () => void}} Props */

/** Edit, say in numbers what became of it, and offer to undo it.
 * @param {LibrarianPanel} panel @param {ModelRow[]} rows @param {Change} change */
async function editAll(panel, rows, change) {
  const { i18n } = panel.words.get()
  const { t } = i18n
  const { edited, failed } = await panel.bulk.edit([{ rows, change }])
  const undo = async () => {
    try {
      const told = await panel.bulk.edit(inverse(edited, change))
      panel.view.toast(told.failed.length > 0 ? 'warn' : 'success', t('bulk.undone', { count: told.edited.length }), told.failed[0]?.message ?? '')
    } catch (error) {
      panel.view.toast('error', t('bulk.undoFailed'), errorWords(error, i18n).title)
    }
  }
  if (edited.length > 0) panel.view.toast('success', t('bulk.edited', { count: edited.length }), t('bulk.manual'), { label: t('bulk.undo'), run: () => void undo() })
  if (failed.length > 0) panel.view.toast('error', t('bulk.notEdited', { count: failed.length }), failed[0]?.message ?? '')
}

/** What a dialog does, and whether it is at it. @param {() => Promise<void>} work @param {() => void} onClose */
function useWork(work, onClose) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(/** @type {unknown} */ (null))
  const run = async () => {
    setBusy(true)
    setError(null)
    try {
      await work()
      onClose()
    } catch (failed) {
      setBusy(false)
      setError(failed)
    }
  }
  return { busy, error, run }
}

/** How far work is that needs one request for each model. */
function EachProgress() {
  const { bulk } = usePanel()
  const { t } = useI18n()
  const { busy, done, total } = useStore(bulk)
  return busy && total > 0 && html`<${ProgressBar} progress=${{ current: done, total, unit: 'models' }} label=${t('bulk.working')} />`
}

/** @param {Props} props */
export function TagDialog({ rows, onClose }) {
  const panel = usePanel()
  const { t } = useI18n()
  const [text, setText] = useState('')
  const [removed, setRemoved] = useState(/** @type {string[]} */ ([]))
  const add = [...new Set(text.split(',').map((tag) => tag.trim()).filter(Boolean))].filter((tag) => !removed.includes(tag))
  /** @type {Map<string, number>} */
  const counts = new Map()
  for (const row of rows) for (const tag of row.tags ?? []) counts.set(tag, (counts.get(tag) ?? 0) + 1)
  const known = [...counts].sort(([, one], [, other]) => other - one).slice(0, 60)
  const gets = rows.filter((row) => add.some((tag) => !(row.tags ?? []).includes(tag)))
  const loses = rows.filter((row) => removed.some((tag) => (row.tags ?? []).includes(tag)))
  const touched = rows.filter((row) => gets.includes(row) || loses.includes(row))
  const { busy, error, run } = useWork(() => editAll(panel, touched, { add_tags: add, remove_tags: removed }), onClose)
  return html`<${Dialog} title=${t('bulk.tag.title', { count: rows.length })} confirm=${t('bulk.tag.confirm', { count: touched.length || rows.length })}
    disabled=${touched.length === 0} busy=${busy} onConfirm=${run} onCancel=${onClose}>
    <label class="lib-field-label"><span>${t('bulk.tag.add')}</span>
      <input class="lib-input" type="text" value=${text} placeholder=${t('bulk.tag.hint')} onInput=${(/** @type {any} */ event) => setText(event.target.value)} /></label>
    ${known.length > 0 && html`<fieldset class="lib-choices"><legend>${t('bulk.tag.remove')}</legend><div class="lib-bulk-tags">
      ${known.map(([tag, count]) => html`<label class="lib-choice" key=${tag}>
        <input type="checkbox" checked=${removed.includes(tag)} onChange=${() => setRemoved(removed.includes(tag) ? removed.filter((one) => one !== tag) : [...removed, tag])} />
        <span>${tag} (${count})</span></label>`)}
    </div></fieldset>`}
    ${add.length + removed.length > 0 && html`<ul class="lib-consequences">
      ${add.length > 0 && html`<li>${t('bulk.tag.gets', { count: gets.length, tags: add.join(', ') })}</li>`}
      ${removed.length > 0 && html`<li>${t('bulk.tag.loses', { count: loses.length, tags: removed.join(', ') })}</li>`}
    </ul>`}
    <p class="lib-note">${t('bulk.manualBefore')}</p>
    ${error && html`<${ErrorBox} compact what=${t('edit.failed')} error=${error} onRetry=${run} />`}
  <//>`
}

/** @param {Props} props */
export function RetypeDialog({ rows, onClose }) {
  const panel = usePanel()
  const { t, term } = useI18n()
  const [subtype, setSubtype] = useState('')
  const touched = subtype ? rows.filter((row) => row.subtype !== subtype) : []
  const { busy, error, run } = useWork(() => editAll(panel, touched, { fields: { subtype } }), onClose)
  return html`<${Dialog} title=${t('bulk.retype.title', { count: rows.length })} confirm=${t('bulk.retype.confirm', { count: touched.length || rows.length })}
    disabled=${touched.length === 0} busy=${busy} onConfirm=${run} onCancel=${onClose}>
    <label class="lib-field-label"><span>${t('field.subtype')}</span>
      <select class="lib-input" value=${subtype} onChange=${(/** @type {any} */ event) => setSubtype(event.target.value)}>
        <option value="">${t('bulk.retype.choose')}</option>
        ${SUBTYPES.map((one) => html`<option key=${one} value=${one}>${term('subtype', one)}</option>`)}
      </select></label>
    ${subtype && html`<ul class="lib-consequences">
      <li>${t('bulk.retype.gets', { count: touched.length, kind: term('subtype', subtype) })}</li>
      ${touched.length < rows.length && html`<li>${t('bulk.retype.already', { count: rows.length - touched.length })}</li>`}
    </ul>`}
    <p class="lib-note">${t('bulk.retype.note')} ${t('bulk.manualBefore')}</p>
    ${error && html`<${ErrorBox} compact what=${t('edit.failed')} error=${error} onRetry=${run} />`}
  <//>`
}

/** @param {Props} props */
export function LinkDialog({ rows, onClose }) {
  const { bulk } = usePanel()
  const { t } = useI18n()
  const owned = rows.filter((row) => row.storage === 'owned')
  const [plan, setPlan] = useState(/** @type {Plan | null} */ (null))
  const [failed, setFailed] = useState(/** @type {unknown} */ (null))
  const look = () => {
    setFailed(null)
    if (owned.length > 0) bulk.previewLinks(owned).then(setPlan, setFailed)
  }
  useEffect(look, [])
  const removed = (plan?.broken_to_remove.length ?? 0) + (plan?.orphaned_to_remove.length ?? 0)
  const actions = (plan?.to_create.length ?? 0) + removed
  const { busy, error, run } = useWork(() => bulk.link(/** @type {Plan} */ (plan)), onClose)
  return html`<${Dialog} title=${t('bulk.link.title', { count: owned.length || rows.length })} confirm=${owned.length > 0 && (!plan || actions > 0) && t('links.apply', { count: actions })}
    disabled=${actions === 0} busy=${busy} onConfirm=${run} onCancel=${onClose}>
    ${owned.length > 0 && !plan && !failed && html`<${SkeletonRows} count=${2} />`}
    <ul class="lib-consequences">
      ${plan && html`<li>${t('links.willCreate', { count: plan.to_create.length })}</li>`}
      ${removed > 0 && html`<li>${t('links.willRemove', { count: removed })}</li>`}
      ${plan && plan.to_skip_exists.length > 0 && html`<li>${t('links.already', { count: plan.to_skip_exists.length })}</li>`}
      ${plan && plan.conflicts.length > 0 && html`<li>${t('bulk.link.conflicts', { count: plan.conflicts.length })}</li>`}
      ${owned.length < rows.length && html`<li>${t('bulk.link.inPlace', { count: rows.length - owned.length })}</li>`}
    </ul>
    ${failed && html`<${ErrorBox} compact what=${t('links.previewFailed')} error=${failed} onRetry=${look} />`}
    ${error && html`<${ErrorBox} compact what=${t('links.applyFailed')} error=${error} onRetry=${look} />`}
  <//>`
}

/** @param {Props} props */
export function AdoptDialog({ rows, onClose }) {
  const { bulk, selection, view } = usePanel()
  const { t, bytes } = useI18n()
  const [trusted, setTrusted] = useState(false)
  const outside = rows.filter((row) => row.storage !== 'owned')
  const pickles = outside.filter((row) => row.security_tier === 'pickle').length
  const size = bytes(outside.reduce((sum, row) => sum + (row.size_bytes ?? 0), 0))
  const { busy, error, run } = useWork(async () => {
    const begun = await bulk.adopt(outside, trusted)
    if (begun === 0) return
    selection.clear()
    view.openSheet('jobs')
  }, onClose)
  return html`<${Dialog} title=${t('bulk.adopt.title', { count: outside.length || rows.length })} confirm=${outside.length > 0 && t('bulk.adopt.confirm', { count: outside.length })}
    disabled=${outside.length === 0 || (pickles > 0 && !trusted)} busy=${busy} onConfirm=${run} onCancel=${() => {
      bulk.stop()
      onClose()
    }}>
    <ul class="lib-consequences">
      ${outside.length > 0 && html`<li>${t('bulk.adopt.moves', { count: outside.length, size })}</li><li>${t('bulk.adopt.links')}</li>`}
      ${outside.length < rows.length && html`<li>${t('bulk.adopt.already', { count: rows.length - outside.length })}</li>`}
    </ul>
    ${outside.length > 0 && html`<p class="lib-note">${t('bulk.adopt.note')}</p>`}
    ${pickles > 0 && html`<label class="lib-choice"><input type="checkbox" checked=${trusted} onChange=${(/** @type {any} */ event) => setTrusted(event.target.checked)} />
      <span>${t('bulk.pickles', { count: pickles })}</span></label>`}
    <${EachProgress} />
    ${error && html`<${ErrorBox} compact what=${t('bulk.adopt.failed')} error=${error} onRetry=${run} />`}
  <//>`
}

/** @param {Props} props */
export function DeleteManyDialog({ rows, onClose }) {
  const { bulk, details, toast, host } = usePanel()
  const i18n = useI18n()
  const { t, bytes } = i18n
  const [files, setFiles] = useState(/** @type {'trash' | 'permanent' | 'keep'} */ ('trash'))
  // What lies in a folder that is indexed stays listed as long as its file is there.
  const touched = files === 'keep' ? rows.filter((row) => row.storage === 'owned') : rows
  const linked = touched.filter((row) => row.linked).length
  const inPlace = rows.filter((row) => row.storage !== 'owned').length
  const size = bytes(touched.reduce((sum, row) => sum + (row.size_bytes ?? 0), 0))
  const { busy, error, run } = useWork(async () => {
    const told = await bulk.remove(touched, files)
    const { modelId } = details.get()
    if (told.removed.some((row) => row.model_id === modelId)) details.close()
    if (told.removed.length > 0) {
      toast('success', t('bulk.delete.done', { count: told.removed.length }), [
        t('delete.unlinked', { count: told.unlinked }), t('delete.filesRemoved', { count: told.files }), files === 'trash' ? t('bulk.delete.inTrash') : ''
      ].filter(Boolean).join(' '))
    }
    const [first] = told.failed
    if (first) toast('error', t('bulk.delete.notDone', { count: told.failed.length }), `${nameOf(first.row)}: ${errorWords(first.error, i18n).detail || errorWords(first.error, i18n).title}`)
    if (told.unlinked > 0) void host.refreshNodes()
  }, onClose)
  return html`<${Dialog} title=${t('bulk.delete.title', { count: touched.length })} confirm=${t(`bulk.delete.confirm.${files}`, { count: touched.length })} kind="danger"
    disabled=${touched.length === 0} busy=${busy} onConfirm=${run} onCancel=${() => {
      bulk.stop()
      onClose()
    }}>
    <ul class="lib-consequences">
      <li>${t(`bulk.delete.files.${files}`, { count: touched.length, size })}</li>
      ${linked > 0 && html`<li>${t('bulk.delete.linked', { count: linked })}</li>`}
      ${inPlace > 0 && html`<li>${t(files === 'keep' ? 'bulk.delete.inPlaceKept' : 'bulk.delete.inPlace', { count: inPlace })}</li>`}
    </ul>
    <fieldset class="lib-choices"><legend>${t('delete.what')}</legend>
      ${/** @type {const} */ (['trash', 'keep', 'permanent']).map((choice) => html`<label class="lib-choice" key=${choice}>
        <input type="radio" name="lib-bulk-delete" value=${choice} checked=${files === choice} disabled=${busy} onChange=${() => setFiles(choice)} />
        <span>${t(`delete.choice.${choice}`)}</span></label>`)}
    </fieldset>
    <p class="lib-note">${t('bulk.delete.noUndo')}</p>
    <${EachProgress} />
    ${error && html`<${ErrorBox} compact what=${t('delete.failed')} error=${error} onRetry=${run} />`}
  <//>`
}
