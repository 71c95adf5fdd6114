import { html, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel } from './context.mjs'
import { nameOf } from './model-list.mjs'
import { Dialog, ErrorBox } from './parts.mjs'

/** @import { ModelRecord } from '../types.mjs' */

/**
 * Says in numbers what deleting will do, before it does it.
 * @param {{record: ModelRecord, onClose: () => void}} props
 */
export function DeleteDialog({ record, onClose }) {
  const panel = usePanel()
  const { t, bytes } = useI18n()
  const [files, setFiles] = useState(/** @type {'trash' | 'permanent' | 'keep'} */ ('trash'))
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(/** @type {unknown} */ (null))

  const there = (record.files ?? []).filter((file) => file.exists !== false)
  const size = there.reduce((sum, file) => sum + (file.size ?? 0), 0) || (record.size_bytes ?? 0)
  const links = (record.links ?? []).length
  const numbers = { count: there.length, size: bytes(size) }

  const confirm = async () => {
    setBusy(true)
    setError(null)
    try {
      const answer = await panel.details.remove(files)
      panel.details.close()
      panel.toast('success', t('delete.done', { name: nameOf(record) }), [
        t('delete.unlinked', { count: answer?.unlinked ?? links }),
        t('delete.filesRemoved', { count: answer?.files_removed ?? 0 })
      ].join(' '))
      if (answer?.unreachable?.length) {
        panel.toast('warn', t('delete.unreachable', { count: answer.unreachable.length }))
      }
      if (links > 0) void panel.host.refreshNodes()
      onClose()
    } catch (failed) {
      setBusy(false)
      setError(failed)
    }
  }

  const choices = /** @type {const} */ (['trash', 'keep', 'permanent'])
  return html`<${Dialog}
    title=${t('delete.title', { name: nameOf(record) })}
    confirm=${t(`delete.confirm.${files}`)}
    kind="danger"
    busy=${busy}
    onConfirm=${confirm}
    onCancel=${onClose}
  >
    <ul class="lib-consequences">
      ${links > 0 && html`<li data-consequence="links">${t('delete.links', { count: links })}</li>`}
      <li data-consequence="files">${t(`delete.files.${files}`, numbers)}</li>
      ${record.storage === 'in-place' && html`<li>${t(files === 'keep' ? 'delete.inPlaceKept' : 'delete.inPlace')}</li>`}
    </ul>
    <fieldset class="lib-choices">
      <legend>${t('delete.what')}</legend>
      ${choices.map(
        (choice) =>
          html`<label class="lib-choice" key=${choice}>
            <input type="radio" name="lib-delete-files" value=${choice} checked=${files === choice} onChange=${() => setFiles(choice)} />
            <span>${t(`delete.choice.${choice}`)}</span>
          </label>`
      )}
    </fieldset>
    ${error && html`<${ErrorBox} compact what=${t('delete.failed')} error=${error} onRetry=${confirm} />`}
  <//>`
}
