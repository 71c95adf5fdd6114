import { html, useLayoutEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { RULE_FILTERS } from '../mapping-rules.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { useDrop } from './mappings-drop.mjs'
import { wordOf } from './mappings-library.mjs'
import { IconButton } from './parts.mjs'

/** @import { Rule, RuleFilter } from '../mapping-rules.mjs' */
/** @import { Draft } from '../stores/mappings.mjs' */

const FILTERS = /** @type {RuleFilter[]} */ (Object.keys(RULE_FILTERS))

/** Keys typed in a field are the field's own. @param {KeyboardEvent} event */
const ownKeys = (event) => {
  if (event.key !== 'Escape') event.stopPropagation()
}

/** What is wrong with a field or with one entry of it. @param {Record<string, string>} wrong @param {string} field */
const wrongOf = (wrong, field) => Object.entries(wrong).find(([name]) => name === field || name.startsWith(`${field}.`))?.[1]

/** A labelled field with what is wrong with it.
 * @param {{id: string, label: string, wrong?: string | undefined, hint?: string, children: (props: Record<string, any>) => any}} props */
function Field({ id, label, wrong, hint, children }) {
  return html`<div class="lib-rule-field">
    <label for=${id}>${label}</label>
    ${children({ id, onKeyDown: ownKeys, 'aria-invalid': wrong ? 'true' : undefined, 'aria-describedby': wrong ? `${id}-wrong` : undefined })}
    ${wrong ? html`<p class="lib-entry-note lib-bad" id=${`${id}-wrong`} role="alert">${wrong}</p>` : hint && html`<p class="lib-entry-note">${hint}</p>`}
  </div>`
}

/**
 * What is typed stays as it is typed, also where it means nothing yet, and while others of the rule change.
 * @template T
 * @param {T} value @param {(value: T) => string} format @param {(text: string) => T} parse
 * @returns {[string, (text: string) => void]}
 */
function useDraft(value, format, parse) {
  const [text, setText] = useState(format(value))
  const said = format(value)
  useLayoutEffect(() => {
    if (format(parse(text)) !== said) setText(said)
  }, [said])
  return [text, setText]
}

/** @param {{value: string, onChange: (value: string) => void, field: Record<string, any>}} props */
function FolderInput({ value, onChange, field }) {
  const [text, setText] = useDraft(value, String, (typed) => typed.trim())
  return html`<input class="lib-input" type="text" dir="auto" spellcheck="false" value=${text} ...${field}
    onInput=${(/** @type {any} */ event) => setText(event.target.value)} onChange=${(/** @type {any} */ event) => onChange(event.target.value.trim())} />`
}

/** @param {{value: number | null, step: string, onChange: (value: number | null) => void, field: Record<string, any>}} props */
function NumberInput({ value, step, onChange, field }) {
  const read = (/** @type {string} */ typed) => (typed.trim() === '' ? null : Number(typed))
  const [text, setText] = useDraft(value, (one) => (one === null ? '' : String(one)), read)
  return html`<input class="lib-input" type="number" step=${step} value=${text} ...${field}
    onInput=${(/** @type {any} */ event) => {
      setText(event.target.value)
      // «-» alone is no number yet, and browsers tell it as nothing.
      if (!event.target.validity?.badInput) onChange(read(event.target.value))
    }} />`
}

/** @param {{value: string[], onChange: (value: string[]) => void, field: Record<string, any>}} props */
function LinesInput({ value, onChange, field }) {
  const read = (/** @type {string} */ typed) => typed.split('\n').map((line) => line.trim()).filter(Boolean)
  const [text, setText] = useDraft(value, (lines) => lines.join('\n'), read)
  return html`<textarea class="lib-input" rows="2" dir="auto" spellcheck="false" value=${text} ...${field}
    onInput=${(/** @type {any} */ event) => {
      setText(event.target.value)
      onChange(read(event.target.value))
    }}></textarea>`
}

/** Values of one filter: chips to take away, a field to add.
 * @param {{id: string, filter: RuleFilter | 'exclude_tags', values: string[], label: string, wrong: string | undefined, onChange: (values: string[]) => void}} props */
function Values({ id, filter, values, label, wrong, onChange }) {
  const { mappings } = usePanel()
  const i18n = useI18n()
  const { facets } = useStore(mappings)
  const [draft, setDraft] = useState('')
  const known = facets?.[filter === 'exclude_tags' ? 'tag' : RULE_FILTERS[filter]] ?? []
  const add = () => {
    const value = draft.trim()
    if (value && !values.includes(value)) onChange([...values, value])
    setDraft('')
  }
  return html`<${Field} id=${id} label=${label} wrong=${wrong}>
    ${(/** @type {any} */ props) => html`
      <div class="lib-values">
        ${values.map((value) => html`<span class="lib-word" key=${value}>${wordOf(i18n, filter, value)}<${IconButton} icon="close" class="is-small" label=${i18n.t('filters.remove', { value: wordOf(i18n, filter, value) })} onClick=${() => onChange(values.filter((other) => other !== value))} /></span>`)}
        <input class="lib-input" type="text" list=${`${id}-known`} value=${draft} placeholder=${i18n.t('edit.add')} ...${props}
          onInput=${(/** @type {any} */ event) => setDraft(event.target.value)} onChange=${add}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
            if (event.key === 'Enter') add()
            ownKeys(event)
          }} />
        <datalist id=${`${id}-known`}>${known.map(({ value }) => html`<option key=${value} value=${value}>${wordOf(i18n, filter, value)}</option>`)}</datalist>
      </div>`}
  <//>`
}

/** What a rule catches in the library, as it stands. @param {{id: number}} props */
function Catches({ id }) {
  const { mappings } = usePanel()
  const { t } = useI18n()
  const caught = useStore(mappings).catches[id]
  if (!caught) return null
  const { count, more, names, loading, error } = caught
  if (error) return html`<p class="lib-entry-note lib-bad">${t('mapping.catchFailed')}</p>`
  const left = count - names.length
  return html`<p class="lib-catch" role="status" aria-busy=${loading ? 'true' : 'false'} data-count=${count}>
    <${Icon} name="filter" /><span>${t(more ? 'mapping.catchesMore' : 'mapping.catches', { count })}${names.length > 0 && html`: <small>${names.join(', ')}${left > 0 && ` ${t('import.andMore', { count: left })}`}</small>`}</span>
  </p>`
}

/** All of a rule, to be changed. @param {{draft: Draft, at: number}} props */
function RuleForm({ draft: { key, rule }, at }) {
  const { mappings } = usePanel()
  const { t } = useI18n()
  const { wrong } = useStore(mappings)
  const id = (/** @type {string} */ name) => `lib-rule-${key}-${name}`
  const fault = (/** @type {string} */ field) => wrongOf(wrong, `rules.${at}.${field}`)
  /** @param {Partial<Rule>} change */
  const edit = (change) => mappings.edit(key, change)
  /** @param {Record<string, any>} change */
  const filter = (change) => edit({ filters: { ...rule.filters, ...change } })
  return html`<div class="lib-rule-form">
    <${Field} id=${id('name')} label=${t('mapping.field.name')} wrong=${fault('name')}>
      ${(/** @type {any} */ props) => html`<input class="lib-input" type="text" value=${rule.name} ...${props} onInput=${(/** @type {any} */ event) => edit({ name: event.target.value })} />`}
    <//>
    <${Field} id=${id('folder')} label=${t('mapping.field.folder')} wrong=${fault('target_subdir')} hint=${t('mapping.field.folderHint')}>
      ${(/** @type {any} */ field) => html`<${FolderInput} value=${rule.target_subdir} field=${field} onChange=${(/** @type {string} */ target_subdir) => edit({ target_subdir })} />`}
    <//>
    ${FILTERS.map((name) => html`<${Values} key=${name} id=${id(name)} filter=${name} label=${t(`filters.${RULE_FILTERS[name]}`)} values=${rule.filters[name] ?? []} wrong=${fault(`filters.${name}`)} onChange=${(/** @type {string[]} */ values) => filter({ [name]: values })} />`)}
    <${Values} id=${id('exclude')} filter="exclude_tags" label=${t('mapping.field.exclude')} values=${rule.filters.exclude_tags ?? []} wrong=${fault('filters.exclude_tags')} onChange=${(/** @type {string[]} */ values) => filter({ exclude_tags: values })} />
    <${Field} id=${id('patterns')} label=${t('mapping.field.patterns')} wrong=${fault('patterns')} hint=${t('mapping.field.patternsHint')}>
      ${(/** @type {any} */ field) => html`<${LinesInput} value=${rule.patterns} field=${field} onChange=${(/** @type {string[]} */ patterns) => edit({ patterns })} />`}
    <//>
    <div class="lib-rule-pair">
      ${/** @type {const} */ (['min_size_mb', 'max_size_mb']).map((name) => html`<${Field} key=${name} id=${id(name)} label=${t(`mapping.field.${name}`)} wrong=${fault(`filters.${name}`)}>
        ${(/** @type {any} */ field) => html`<${NumberInput} step="any" value=${rule.filters[name] ?? null} field=${field} onChange=${(/** @type {number | null} */ size) => filter({ [name]: size })} />`}
      <//>`)}
    </div>
    <div class="lib-rule-pair">
      <${Field} id=${id('type')} label=${t('mapping.field.linkType')} wrong=${fault('link_type')}>
        ${(/** @type {any} */ props) => html`<select class="lib-input" value=${rule.link_type} ...${props} onChange=${(/** @type {any} */ event) => edit({ link_type: event.target.value })}>
          <option value="file">${t('mapping.linkType.file')}</option><option value="directory">${t('mapping.linkType.directory')}</option>
        </select>`}
      <//>
      <${Field} id=${id('priority')} label=${t('mapping.field.priority')} wrong=${fault('priority')}>
        ${(/** @type {any} */ field) => html`<${NumberInput} step="1" value=${rule.priority} field=${field} onChange=${(/** @type {number | null} */ priority) => edit({ priority: priority ?? 0 })} />`}
      <//>
    </div>
    <p class="lib-entry-note">${t('mapping.field.priorityHint')}</p>
  </div>`
}

/** A rule in one line, and all of it when it is opened. @param {{draft: Draft}} props */
export function RuleCard({ draft }) {
  const { mappings } = usePanel()
  const i18n = useI18n()
  const { t } = i18n
  const { openKey, freshKey, drafts, dragging, wrong } = useStore(mappings)
  const head = useRef(/** @type {HTMLElement | null} */ (null))
  const { key, rule } = draft
  const at = drafts.indexOf(draft)
  const open = openKey === key
  const { over, on } = useDrop(Boolean(dragging && !dragging.model), () => mappings.putOnto(key))
  const filters = FILTERS.flatMap((name) => (rule.filters[name] ?? []).map((value) => wordOf(i18n, name, value)))
  const patterns = rule.patterns.filter((pattern) => pattern !== '*')
  const says = [...filters, ...patterns].join(' · ') || t('mapping.everything')
  const bad = Boolean(wrongOf(wrong, `rules.${at}`))
  useLayoutEffect(() => {
    // What was just made is where one goes on, wherever it was dropped or chosen from.
    if (freshKey !== key) return
    head.current?.focus()
    mappings.seen()
  }, [])
  return html`<li class=${`lib-rule ${over ? 'is-over' : ''} ${rule.enabled ? '' : 'is-off'} ${bad ? 'is-bad' : ''}`} data-rule=${rule.name} ...${on}>
    <div class="lib-rule-head">
      <label class="lib-switch" title=${t('mapping.enabled')}><input type="checkbox" role="switch" checked=${rule.enabled} aria-label=${t('mapping.enabledOf', { name: rule.name })} onChange=${(/** @type {any} */ event) => mappings.edit(key, { enabled: event.target.checked })} /></label>
      <button type="button" class="lib-rule-open" ref=${head} aria-expanded=${open ? 'true' : 'false'} onClick=${() => mappings.toggleOpen(key)}>
        <span class="lib-entry-text"><bdi>${rule.name || t('mapping.unnamed')}</bdi><span class="lib-entry-note">${says}${rule.priority !== 0 && ` · ${t('mapping.priorityOf', { priority: rule.priority })}`}</span></span>
        <${Icon} name="down" class="lib-turn" />
      </button>
      <${IconButton} icon="trash" class="is-small" label=${t('mapping.removeRule', { name: rule.name })} onClick=${(/** @type {any} */ event) => {
        const title = event.currentTarget.closest('section')?.querySelector('h3')
        mappings.remove(key)
        title?.focus({ preventScroll: true })
      }} />
    </div>
    <${Catches} id=${key} />
    ${open && html`<${RuleForm} draft=${draft} at=${at} />`}
  </li>`
}
