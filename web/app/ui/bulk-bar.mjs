import { html, useState } from '../../vendor/htm-preact.mjs'
import { AdoptDialog, DeleteManyDialog, LinkDialog, RetypeDialog, TagDialog } from './bulk-dialogs.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Button, ErrorBox, IconButton } from './parts.mjs'

const ACTIONS = /** @type {const} */ ([
  ['tag', 'tag', TagDialog],
  ['retype', 'pencil', RetypeDialog],
  ['link', 'link', LinkDialog],
  ['adopt', 'tray', AdoptDialog],
  ['delete', 'trash', DeleteManyDialog]
])

/** What is chosen, and what can be done with all of it. Nothing while nothing is to be chosen. */
export function BulkBar() {
  const { selection, search } = usePanel()
  const { t, bytes } = useI18n()
  const { selecting, chosen, gathering, error } = useStore(selection)
  const { total, atHand } = useStore(search)
  const [asking, setAsking] = useState(/** @type {string | null} */ (null))
  if (!selecting) return null
  const rows = [...chosen.values()]
  const size = rows.reduce((sum, row) => sum + (row.size_bytes ?? 0), 0)
  const Asking = ACTIONS.find(([id]) => id === asking)?.[2]
  return html`<section class="lib-bulk" aria-label=${t('bulk.label')}>
    ${error && html`<${ErrorBox} compact what=${t('bulk.gatherFailed')} error=${error} onRetry=${selection.all} />`}
    <div class="lib-bulk-line">
      <span class=${`lib-bulk-count ${rows.length === 0 ? 'is-hint' : ''}`} role="status">${rows.length === 0 ? t('bulk.hint') : t('bulk.chosen', { count: rows.length, size: bytes(size) })}</span>
      ${rows.length < total && !atHand && html`<${Button} kind="quiet" busy=${gathering} onClick=${selection.all}>${t('bulk.all', { count: total })}<//>`}
      <${IconButton} icon="close" class="is-small" label=${t('bulk.leave')} onClick=${selection.clear} />
    </div>
    ${rows.length > 0 && html`<div class="lib-bulk-actions" role="group" aria-label=${t('bulk.actions')}>
      ${ACTIONS.map(([id, icon]) => html`<${Button} key=${id} icon=${icon} data-action=${id} onClick=${() => setAsking(id)}>${t(`bulk.${id}.name`)}<//>`)}
    </div>`}
    ${Asking && rows.length > 0 && html`<${Asking} rows=${rows} onClose=${() => setAsking(null)} />`}
  </section>`
}
