import { html } from '../../vendor/htm-preact.mjs'
import { guessOf, isImportable, isUploaded, valueOf } from '../stores/drafts.mjs'
import { baseName } from '../text.mjs'
import { isMatched } from '../trust.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { SUBTYPES, webAddress } from './details-sheet.mjs'
import { Icon, iconOf } from './icons.mjs'
import { Button, ErrorBox, IconButton, MiddleName, TierBadge, TrustBadge } from './parts.mjs'
import { RelatedFiles } from './related-files.mjs'

/** @import { Draft } from '../stores/drafts.mjs' */
/** @import { Candidate, Warning } from '../types.mjs' */

/** Missing parts that are named; the others are counted. */
const NAMED = 8

/** @param {{draft: Draft, field: string}} props */
function TextField({ draft, field }) {
  const { imports } = usePanel()
  const { t } = useI18n()
  return html`<label class="lib-field" data-wide-field=${field === 'official_name' ? '' : undefined}>
    <span>${t(`field.${field}`)}</span>
    <input class="lib-input" type="text" dir="auto" data-field=${field} value=${valueOf(draft, field)} placeholder=${guessOf(draft, field)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key !== 'Escape' && event.stopPropagation()}
      onInput=${(/** @type {any} */ event) => imports.describe(draft.key, field, event.target.value)} />
  </label>`
}

/** @param {{draft: Draft}} props */
function Fields({ draft }) {
  const { imports } = usePanel()
  const { t, term } = useI18n()
  const subtype = valueOf(draft, 'subtype')
  return html`<div class="lib-fields">
    <${TextField} draft=${draft} field="official_name" />
    <label class="lib-field" data-wide-field>
      <span>${t('field.subtype')}</span>
      <span class="lib-select">
        <${Icon} name=${iconOf(subtype)} />
        <select class="lib-input" data-field="subtype" value=${subtype}
          onChange=${(/** @type {any} */ event) => imports.describe(draft.key, 'subtype', event.target.value)}>
          ${!SUBTYPES.includes(subtype) && html`<option value=${subtype}>${term('subtype', subtype) || t('import.chooseType')}</option>`}
          ${SUBTYPES.map((value) => html`<option key=${value} value=${value}>${term('subtype', value)}</option>`)}
        </select>
      </span>
    </label>
    ${/** @type {const} */ (['family', 'base_model', 'variant', 'precision']).map((field) => html`<${TextField} key=${field} draft=${draft} field=${field} />`)}
  </div>`
}

/** @param {{draft: Draft, candidate: Candidate, first: boolean}} props */
function Answer({ draft, candidate, first }) {
  const { imports } = usePanel()
  const { t, term } = useI18n()
  const page = webAddress(candidate.page_url)
  const taken = draft.candidate === candidate
  return html`<li class="lib-candidate">
    <div class="lib-candidate-text">
      ${page ? html`<a href=${page} target="_blank" rel="noreferrer noopener">${candidate.repo_id}</a>` : html`<span>${candidate.repo_id}</span>`}
      <span class="lib-entry-note">${[term('provider', candidate.provider), candidate.file_name, candidate.base_model].filter(Boolean).join(' · ')}</span>
    </div>
    <div class="lib-candidate-side">
      <${TrustBadge} model=${candidate} />
      ${isImportable(draft) &&
      html`<${Button} icon=${taken ? 'check' : undefined} aria-pressed=${taken ? 'true' : 'false'} onClick=${() => imports.takeAnswer(draft.key, taken ? null : candidate)}>
        ${t(taken ? 'import.taken' : 'import.take')}
      <//>`}
    </div>
    ${!isImportable(draft) && html`<${RelatedFiles} candidate=${candidate} own=${draft.group.files.map(({ path, upload }) => ({ name: baseName(path), path, upload }))} first=${first} />`}
  </li>`
}

/** What Hugging Face says of it; nothing waits for that. @param {{draft: Draft}} props */
function Lookup({ draft }) {
  const { imports, status } = usePanel()
  const { t } = useI18n()
  const offline = Boolean(useStore(status).status?.network.offline)
  const { asking, answer, error } = draft.lookup
  return html`<div class="lib-draft-lookup" aria-live="polite">
    ${!answer && !error &&
    html`<${Button} kind="quiet" icon=${offline ? 'offline' : 'globe'} busy=${asking} disabled=${offline} onClick=${() => imports.lookUp(draft)}>
      ${t(offline ? 'import.askOffline' : asking ? 'import.asking' : 'import.ask')}
    <//>`}
    ${error && html`<${ErrorBox} compact what=${t('lookup.failed')} error=${error} onRetry=${() => imports.lookUp(draft)} />`}
    ${answer && answer.candidates.length === 0 && html`<p class="lib-note"><${TrustBadge} model=${{ match_method: 'none' }} /> ${t(answer.offline ? 'lookup.offlineNothing' : 'lookup.nothing')}</p>`}
    ${answer && answer.candidates.length > 0 &&
    html`${(answer.offline || answer.stale) && html`<p class="lib-note">${t(answer.offline ? 'lookup.offline' : 'lookup.stale')}</p>`}
      <ul class="lib-candidates">${answer.candidates.map((candidate, at) => html`<${Answer} first=${at === 0} key=${`${candidate.provider}/${candidate.repo_id}`} draft=${draft} candidate=${candidate} />`)}</ul>
      ${draft.candidate && html`<p class="lib-note">${t('import.takenText')}</p>`}`}
  </div>`
}

/** What should be known before. @param {{warnings: Warning[]}} props */
export function Warnings({ warnings }) {
  const { told } = useI18n()
  return warnings.map(
    (warning) => html`<p class="lib-callout" data-severity="warn" data-code=${warning.code} key=${`${warning.code} ${warning.message}`}><${Icon} name="warn" /><span>${told(warning)}</span></p>`
  )
}

/** What is in the way, and what to know. @param {{draft: Draft}} props */
function Remarks({ draft }) {
  const panel = usePanel()
  const { t, told } = useI18n()
  const { group } = draft
  const missing = group.missing_shards ?? []
  const able = isImportable(draft)
  const names = missing.slice(0, NAMED).join(', ') + (missing.length > NAMED ? ', …' : '')
  return html`
    ${group.problem && html`<p class="lib-callout" data-severity=${able ? 'warn' : 'error'}><${Icon} name=${able ? 'warn' : 'error'} /><span>${told({ message: group.problem, said: group.problem_said })}</span></p>`}
    ${missing.length > 0 && !group.problem && html`<p class="lib-callout" data-severity="warn"><${Icon} name="warn" /><span>${t('import.missingShards', { count: missing.length, names })}</span></p>`}
    ${group.duplicate_of &&
    html`<p class="lib-callout" data-severity="info"><${Icon} name="info" />
      <span>${t(able ? 'import.listed' : 'import.duplicate')} <button type="button" class="lib-link" onClick=${() => {
        panel.view.go('models')
        panel.details.open(/** @type {string} */ (group.duplicate_of))
      }}><${MiddleName} text=${group.duplicate_of} /></button></span>
    </p>`}
    <${Warnings} warnings=${group.warnings ?? []} />
  `
}

/** Whether the rest of it may be at its host. @param {Draft} draft */
const isIncomplete = (draft) => !isImportable(draft) && (draft.group.missing_shards ?? []).length > 0

/** The files, and where they lie. @param {{draft: Draft}} props */
function Files({ draft }) {
  const { t, bytes } = useI18n()
  const files = [...draft.group.files, ...(draft.group.beside ?? [])]
  return html`<details class="lib-more lib-draft-files">
    <summary><${Icon} name="right" />${isUploaded(draft) ? t('import.filesUploaded', { count: files.length }) : t('import.files', { count: files.length })}</summary>
    <ul class="lib-plain-list" dir="ltr">
      ${files.slice(0, 100).map((file) => html`<li key=${file.upload ?? file.path}><${MiddleName} text=${file.path ?? ''} /><span>${bytes(file.size)}</span></li>`)}
    </ul>
    ${files.length > 100 && html`<p class="lib-note">${t('upload.more', { count: files.length - 100 })}</p>`}
  </details>`
}

/** One group of files: a line, and all about it when it is opened. @param {{draft: Draft}} props */
export function DraftRow({ draft }) {
  const { imports } = usePanel()
  const { t, term, bytes } = useI18n()
  const { group, open, include } = draft
  const able = isImportable(draft)
  const id = `lib-draft-${encodeURIComponent(draft.key)}`
  const name = valueOf(draft, 'official_name') || group.name
  const subtype = valueOf(draft, 'subtype')
  const lineage = [valueOf(draft, 'base_model'), valueOf(draft, 'family')].find(Boolean) ?? ''
  const best = draft.candidate ?? draft.lookup.answer?.candidates[0]
  const facts = [
    able && (term('subtype', subtype) || t('import.chooseType')),
    able && lineage,
    draft.size ? bytes(draft.size) : '',
    group.format !== 'single-file' ? `${term('format', group.format)}, ${t('import.files', { count: group.files.length })}` : ''
  ].filter(Boolean)
  const unclear = able && (!subtype || subtype === 'unknown')
  return html`<li class=${`lib-draft ${include ? '' : 'is-left-out'} ${open ? 'is-open' : ''}`} data-tier=${group.security_tier}>
    <div class="lib-draft-head">
      ${able
        ? html`<input type="checkbox" id=${id} checked=${include} onChange=${(/** @type {any} */ event) => imports.include(draft.key, event.target.checked)} />`
        : html`<${Icon} name=${group.duplicate_of ? 'info' : 'error'} class="lib-draft-mark" />`}
      <label for=${able ? id : undefined}>
        <${MiddleName} class="lib-draft-name" text=${name} title=${group.name} />
        <span class=${`lib-entry-note ${unclear ? 'lib-warn-text' : ''}`}>${facts.join(' · ')}</span>
      </label>
      <span class="lib-draft-marks">
        ${best && isMatched(best) && html`<${TrustBadge} model=${best} iconOnly />`}
        ${(able || group.security_tier !== 'unknown') && html`<${TierBadge} tier=${group.security_tier} />`}
        ${able && html`<${IconButton} icon="down" class="is-small lib-draft-toggle" label=${t(open ? 'import.close' : 'import.open', { name })} aria-expanded=${open ? 'true' : 'false'} onClick=${() => imports.toggle(draft.key)} />`}
      </span>
    </div>
    <${Remarks} draft=${draft} />
    ${isIncomplete(draft) && html`<${Lookup} draft=${draft} />`}
    ${able && open && html`<${Fields} draft=${draft} /><${Lookup} draft=${draft} /><${Files} draft=${draft} />`}
  </li>`
}
