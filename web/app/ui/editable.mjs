import { html, useLayoutEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { ErrorBox, IconButton } from './parts.mjs'

/**
 * A fact that can be changed where it stands: click or Enter edits, Enter saves (Ctrl+Enter where
 * lines may break), Esc leaves it as it was.
 *
 * @param {{field: string, label: string, value: unknown, kind?: 'text' | 'lines' | 'long' | 'choice',
 *   quiet?: boolean, options?: {value: string, label: string}[], suggestions?: string[], show?: any}} props
 *   `lines` is a list, one entry a line.
 */
export function EditableField({ field, label, value, kind = 'text', options = [], suggestions = [], show, quiet = false }) {
  const { details } = usePanel()
  const { t } = useI18n()
  const { saving, saveError } = useStore(details)
  const [draft, setDraft] = useState(/** @type {string | null} */ (null))
  const input = useRef(/** @type {any} */ (null))
  const opener = useRef(/** @type {HTMLButtonElement | null} */ (null))
  const text = Array.isArray(value) ? value.join('\n') : String(value ?? '')
  // What is seen is part of what is said.
  const seen = typeof show === 'string' ? show : text.replaceAll('\n', ' ')
  const editing = draft !== null
  const busy = saving === field

  useLayoutEffect(() => {
    if (!editing) return
    input.current?.focus()
    input.current?.select?.()
  }, [editing])

  const leave = () => {
    setDraft(null)
    details.dropSaveError()
    requestAnimationFrame(() => opener.current?.focus())
  }

  const save = async () => {
    if (draft === null || busy) return
    if (draft.trim() === text.trim()) return leave()
    const changed =
      kind === 'lines'
        ? draft.split('\n').map((line) => line.trim()).filter(Boolean)
        : draft.trim()
    if (await details.save(field, changed)) leave()
  }

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key === 'Escape') {
      leave()
      event.preventDefault()
    } else if (event.key === 'Enter' && !event.isComposing && (kind === 'text' || kind === 'choice' || event.ctrlKey || event.metaKey)) {
      void save()
      event.preventDefault()
    }
    event.stopPropagation()
  }

  if (!editing) {
    return html`<button
      type="button"
      class=${`lib-editable ${text ? '' : 'is-empty'} ${quiet ? 'is-quiet' : ''}`}
      ref=${opener}
      aria-label=${t(text ? 'edit.label' : 'edit.labelEmpty', { field: label, value: text ? seen : t('edit.add') })}
      onClick=${() => setDraft(text)}
    >
      <span class="lib-editable-value">${text ? (show ?? text) : t('edit.add')}</span>
      <${Icon} name="pencil" />
    </button>`
  }

  const common = {
    ref: input,
    class: 'lib-input',
    'aria-label': label,
    disabled: busy,
    onKeyDown,
    onInput: (/** @type {any} */ event) => setDraft(event.target.value)
  }
  const listId = `lib-suggest-${field}`
  return html`<div class=${`lib-editing ${kind === 'long' || kind === 'lines' ? 'is-tall' : ''}`}>
    ${kind === 'choice'
      ? html`<select ...${common} value=${draft}>
          ${!options.some((option) => option.value === draft) && html`<option value=${draft}>${draft}</option>`}
          ${options.map((option) => html`<option key=${option.value} value=${option.value}>${option.label}</option>`)}
        </select>`
      : kind === 'text'
        ? html`<input ...${common} type="text" value=${draft} list=${suggestions.length ? listId : undefined} />
            ${suggestions.length > 0 &&
            html`<datalist id=${listId}>${suggestions.map((word) => html`<option key=${word} value=${word} />`)}</datalist>`}`
        : html`<textarea ...${common} rows=${kind === 'long' ? 5 : Math.max(3, draft.split('\n').length)} value=${draft}></textarea>`}
    <span class="lib-editing-actions">
      <${IconButton} icon="check" label=${t('edit.save')} onClick=${save} disabled=${busy} />
      <${IconButton} icon="close" label=${t('edit.leave')} onClick=${leave} disabled=${busy} />
    </span>
    ${kind === 'lines' && html`<span class="lib-editing-hint">${t('edit.oneALine')}</span>`}
    ${saveError && html`<${ErrorBox} compact what=${t('edit.failed')} error=${saveError} onRetry=${save} />`}
  </div>`
}
