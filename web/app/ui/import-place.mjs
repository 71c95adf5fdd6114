import { html, useEffect, useRef } from '../../vendor/htm-preact.mjs'
import { blockedBy, isImportable, needsYes } from '../stores/imports.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { baseName, parsePaths } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { SUBTYPES } from './details-sheet.mjs'
import { FolderBrowser } from './folder-browser.mjs'
import { Icon, iconOf } from './icons.mjs'
import { CancelButton, ResultNumbers } from './jobs-sheet.mjs'
import { Button, Empty, ErrorBox, MiddleName, ProgressBar, TierBadge } from './parts.mjs'

/** @import { Draft } from '../stores/imports.mjs' */
/** @import { Job, JobItem } from '../types.mjs' */

/** Which files. */
function Choose() {
  const { imports } = usePanel()
  const { t } = useI18n()
  const { text, inspecting, inspectError, browsing } = useStore(imports)
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null))
  const count = parsePaths(text).length
  useEffect(() => {
    if (browsing === null) field.current?.focus({ preventScroll: true })
  }, [browsing])

  if (browsing !== null) return html`<${FolderBrowser} />`
  return html`
    <div class="lib-place-body">
      <h2 class="lib-place-title">${t('import.title')}</h2>
      <p class="lib-note">${t('import.intro')}</p>
      <label class="lib-label" for="lib-import-paths">${t('import.paths')}</label>
      <textarea
        id="lib-import-paths"
        class="lib-input lib-paths"
        ref=${field}
        rows="5"
        spellcheck=${false}
        placeholder=${t('import.pathsHint')}
        value=${text}
        onInput=${(/** @type {any} */ event) => imports.setText(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void imports.inspect()
          event.stopPropagation()
        }}
      ></textarea>
      <div class="lib-actions">
        <${Button} kind="primary" icon="search" busy=${inspecting} disabled=${count === 0} onClick=${imports.inspect}>
          ${inspecting ? t('import.inspecting') : t('import.inspect')}
        <//>
        <${Button} icon="folder" onClick=${() => imports.browse('')}>${t('import.browse')}<//>
      </div>
      ${inspectError && html`<${ErrorBox} what=${t('import.inspectFailed')} error=${inspectError} onRetry=${imports.inspect} />`}
      <p class="lib-note lib-quiet"><${Icon} name="shield" />${t('import.nothingYet')}</p>
    </div>
  `
}

/** One group of files, to be described. @param {{draft: Draft}} props */
function DraftCard({ draft }) {
  const panel = usePanel()
  const { imports } = panel
  const { t, term, bytes } = useI18n()
  const { group } = draft
  const able = isImportable(draft)
  const missing = group.missing_shards ?? []
  const id = `lib-draft-${encodeURIComponent(draft.key)}`
  /** @param {string} field */
  const text = (field) => html`<label class="lib-field">
    <span>${t(`field.${field}`)}</span>
    <input class="lib-input" type="text" data-field=${field} value=${draft.metadata[field] ?? ''}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key !== 'Escape' && event.stopPropagation()}
      onInput=${(/** @type {any} */ event) => imports.describe(draft.key, field, event.target.value)} />
  </label>`
  const subtype = draft.metadata['subtype'] ?? ''
  return html`<li class=${`lib-draft ${draft.include ? '' : 'is-left-out'}`} data-tier=${group.security_tier}>
    <div class="lib-draft-head">
      <input type="checkbox" id=${id} checked=${draft.include} disabled=${!able}
        onChange=${(/** @type {any} */ event) => imports.include(draft.key, event.target.checked)} />
      <label for=${id}>
        <${MiddleName} class="lib-draft-name" text=${group.name} />
        <span class="lib-entry-note">
          ${[term('format', group.format), t('import.files', { count: draft.paths.length }), draft.size ? bytes(draft.size) : ''].filter(Boolean).join(' · ')}
        </span>
      </label>
      <${TierBadge} tier=${group.security_tier} />
    </div>
    ${group.problem && html`<p class="lib-callout" data-severity=${able ? 'warn' : 'error'}><${Icon} name=${able ? 'warn' : 'error'} /><span>${group.problem}</span></p>`}
    ${missing.length > 0 &&
    html`<p class="lib-callout" data-severity="warn"><${Icon} name="warn" /><span>${t('import.missingShards', { count: missing.length, names: missing.slice(0, 5).map((one) => (typeof one === 'string' ? baseName(one) : `${one}`)).join(', ') })}</span></p>`}
    ${group.duplicate_of &&
    html`<p class="lib-callout" data-severity="info"><${Icon} name="info" />
      <span>${t('import.duplicate')} <button type="button" class="lib-link" onClick=${() => {
        panel.view.go('models')
        panel.details.open(/** @type {string} */ (group.duplicate_of))
      }}><${MiddleName} text=${group.duplicate_of} /></button></span>
    </p>`}
    ${able && draft.include &&
    html`<div class="lib-fields">
      ${text('official_name')}
      <label class="lib-field">
        <span>${t('field.subtype')}</span>
        <span class="lib-select">
          <${Icon} name=${iconOf(subtype)} />
          <select class="lib-input" data-field="subtype" value=${subtype}
            onChange=${(/** @type {any} */ event) => imports.describe(draft.key, 'subtype', event.target.value)}>
            ${!SUBTYPES.includes(subtype) && html`<option value=${subtype}>${subtype || t('import.chooseType')}</option>`}
            ${SUBTYPES.map((value) => html`<option key=${value} value=${value}>${term('subtype', value)}</option>`)}
          </select>
        </span>
      </label>
      ${text('family')} ${text('base_model')}
    </div>`}
    ${able && group.security_tier === 'pickle' && draft.include &&
    html`<label class=${`lib-acknowledge ${needsYes(draft) ? 'is-open' : ''}`}>
      <input type="checkbox" data-acknowledge checked=${draft.acknowledged}
        onChange=${(/** @type {any} */ event) => imports.acknowledge(draft.key, event.target.checked)} />
      <span><strong>${t('import.pickle')}</strong> ${t('import.pickleText')}</span>
    </label>`}
  </li>`
}

/** What they are, and how they come in. */
function Describe() {
  const { imports } = usePanel()
  const { t, bytes } = useI18n()
  const state = useStore(imports)
  const chosen = state.drafts.filter((draft) => draft.include)
  const size = chosen.reduce((sum, draft) => sum + draft.size, 0)
  const blocked = blockedBy(state)
  if (state.drafts.length === 0) {
    return html`<${Empty} icon="file" title=${t('import.foundNone')} text=${t('import.foundNoneText')}>
      <${Button} icon="back" onClick=${imports.back}>${t('action.back')}<//>
    <//>`
  }
  return html`
    <div class="lib-place-body">
      <div class="lib-place-head">
        <button type="button" class="lib-icon-button" aria-label=${t('action.back')} title=${t('action.back')} onClick=${imports.back}><${Icon} name="back" /></button>
        <h2 class="lib-place-title">${t('import.found', { count: state.drafts.length })}</h2>
      </div>
      <ul class="lib-drafts">${state.drafts.map((draft) => html`<${DraftCard} key=${draft.key} draft=${draft} />`)}</ul>
      <label class="lib-choice">
        <input type="checkbox" checked=${state.link} onChange=${(/** @type {any} */ event) => imports.setLink(event.target.checked)} />
        <span>${t('import.link')}</span>
      </label>
    </div>
    <footer class="lib-place-foot">
      <fieldset class="lib-mode" aria-label=${t('import.mode')}>
        <div class="lib-segments">
          ${/** @type {const} */ (['copy', 'move']).map(
            (mode) =>
              html`<label key=${mode} class=${state.mode === mode ? 'is-on' : ''}>
                <input type="radio" name="lib-import-mode" value=${mode} checked=${state.mode === mode} onChange=${() => imports.setMode(mode)} />
                ${t(`import.modes.${mode}`)}
              </label>`
          )}
        </div>
        <p class="lib-note">${t(`import.modeText.${state.mode}`)}</p>
      </fieldset>
      ${state.startError && html`<${ErrorBox} compact what=${t('import.startFailed')} error=${state.startError} onRetry=${imports.start} />`}
      ${blocked === 'pickle' && html`<p class="lib-callout" data-severity="warn" role="status"><${Icon} name="warn" /><span>${t('import.blockedPickle')}</span></p>`}
      <${Button} kind="primary" icon="tray" busy=${state.starting} disabled=${blocked !== null} onClick=${imports.start} data-import-start="true">
        ${t('import.start', { count: chosen.length })}${size ? ` · ${bytes(size)}` : ''}
      <//>
    </footer>
  `
}

/** @param {{item: JobItem, ended: boolean}} props */
function ImportedItem({ item, ended }) {
  const panel = usePanel()
  const { t, term } = useI18n()
  const icon = { done: 'check', failed: 'error', skipped: 'info', cancelled: 'stop' }[item.state ?? ''] ?? 'file'
  return html`<li class="lib-entry" data-state=${item.state}>
    ${item.state === 'running' && !ended ? html`<span class="lib-spinner" aria-hidden="true"></span>` : html`<${Icon} name=${icon} />`}
    <div class="lib-entry-text">
      <${MiddleName} text=${item.name ?? item.model_id ?? ''} />
      <span class=${`lib-entry-note ${item.state === 'failed' ? 'lib-bad' : ''}`}>${item.message || term('jobs.itemState', item.state)}</span>
    </div>
    ${item.model_id && ended &&
    html`<${Button} kind="quiet" onClick=${() => {
      panel.view.go('models')
      panel.details.open(/** @type {string} */ (item.model_id))
    }}>${t('import.show')}<//>`}
  </li>`
}

/** @param {{job: Job | null}} props */
function Running({ job }) {
  const { imports } = usePanel()
  const { t, term } = useI18n()
  const ended = job !== null && hasEnded(job)
  useEffect(() => {
    if (ended) imports.markSeen()
  }, [ended])
  if (!job) {
    return html`<${Empty} icon="tray" title=${t('import.lost')}><${Button} onClick=${imports.reset}>${t('import.again')}<//><//>`
  }
  const items = job.items ?? []
  const done = items.filter((item) => item.state === 'done').length
  const failed = items.filter((item) => item.state === 'failed').length
  const title = !ended
    ? t('import.running')
    : job.state === 'done' && failed === 0
      ? t('import.done', { count: done })
      : job.state === 'done'
        ? t('import.doneWithErrors', { count: done, failed })
        : term('jobs.state', job.state)
  return html`<div class="lib-place-body" aria-live="polite">
    <h2 class="lib-place-title">${title}</h2>
    ${!ended &&
    html`<p class="lib-note">${job.state === 'queued' || job.stage === 'import' ? term('jobs.state', job.state) : term('jobs.stage', job.stage)}</p>
      <${ProgressBar} progress=${job.progress} label=${t('import.running')} />
      <div class="lib-actions"><${CancelButton} id=${job.id} /></div>`}
    ${job.error && html`<${ErrorBox} what=${t('import.failed')} error=${{ code: job.error.code, title: '', detail: job.error.message }} />`}
    ${job.state === 'cancelled' && html`<p class="lib-note">${t('import.cancelledText')}</p>`}
    <ul class="lib-entries">${items.map((item, at) => html`<${ImportedItem} key=${at} item=${item} ended=${ended} />`)}</ul>
    ${ended && job.result?.links && html`<${ResultNumbers} job=${{ ...job, result: { links: job.result.links } }} />`}
    ${ended && html`<div class="lib-actions"><${Button} kind="primary" icon="tray" onClick=${imports.reset}>${t('import.again')}<//></div>`}
  </div>`
}

/** Bring files that lie on the server into the library. */
export function ImportPlace() {
  const { imports, jobs } = usePanel()
  const { t } = useI18n()
  const { step, jobId } = useStore(imports)
  useStore(jobs)
  return html`<section class="lib-column" aria-label=${t('places.import')}>
    ${step === 'choose' ? html`<${Choose} />` : step === 'describe' ? html`<${Describe} />` : html`<${Running} job=${jobs.find(jobId)} />`}
  </section>`
}
