import { html, useEffect, useRef } from '../../vendor/htm-preact.mjs'
import { chosenFiles } from '../dropped-files.mjs'
import { hasEnded } from '../stores/jobs.mjs'
import { parsePaths } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { uploadChosen } from './drop-zone.mjs'
import { Icon } from './icons.mjs'
import { UploadList } from './import-uploads.mjs'
import { Button, ErrorBox, MiddleName, ProgressBar } from './parts.mjs'

/** @import { Job } from '../types.mjs' */

/** A button that opens the browser's own dialog. @param {{icon: string, folder?: boolean, children: any}} props */
function Picker({ icon, folder = false, children }) {
  const panel = usePanel()
  const input = useRef(/** @type {HTMLInputElement | null} */ (null))
  return html`
    <input type="file" multiple hidden webkitdirectory=${folder} data-picker=${folder ? 'folder' : 'files'} ref=${input}
      onChange=${(/** @type {any} */ event) => {
        const files = chosenFiles(event.target.files)
        event.target.value = ''
        void uploadChosen(panel, () => files)
      }} />
    <${Button} icon=${icon} onClick=${() => input.current?.click()}>${children}<//>
  `
}

/** @param {{job: Job}} props */
function RecentImport({ job }) {
  const { imports } = usePanel()
  const { t, term, moment } = useI18n()
  const items = job.items ?? []
  const ended = hasEnded(job)
  const failed = items.filter(({ state }) => state === 'failed').length
  const done = items.filter(({ state }) => state === 'done').length
  const icon = !ended ? 'activity' : job.state !== 'done' ? 'warn' : failed ? 'error' : 'check'
  const said = !ended
    ? term('jobs.state', job.state)
    : job.state === 'done'
      ? failed
        ? t('import.doneWithErrors', { count: done, failed })
        : t('import.done', { count: done })
      : term('jobs.state', job.state)
  return html`<li class="lib-recent" data-state=${job.state}>
    <button type="button" onClick=${() => imports.show(job.id)}>
      ${ended ? html`<${Icon} name=${icon} />` : html`<span class="lib-spinner" aria-hidden="true"></span>`}
      <span class="lib-entry-text">
        <${MiddleName} text=${items[0]?.name ?? t('import.title')} />
        <span class="lib-entry-note">
          ${[items.length > 1 ? t('import.andMore', { count: items.length - 1 }) : '', said, ended ? moment(job.finished_at) : ''].filter(Boolean).join(' · ')}
        </span>
      </span>
      <${Icon} name="right" />
    </button>
    ${!ended && html`<${ProgressBar} progress=${job.progress} label=${t('import.running')} details=${false} />`}
  </li>`
}

/** Which files: dropped, chosen, browsed to, or named by path. */
export function Choose() {
  const panel = usePanel()
  const { imports, uploads, jobs, folders } = panel
  const { t } = useI18n()
  const { text, inspecting, inspectError, spare } = useStore(imports)
  const { uploads: sent } = useStore(uploads)
  const recent = useStore(jobs).jobs.filter((job) => job.kind === 'import').slice(0, 5)
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null))
  const here = sent.filter(({ state }) => state === 'done').length
  const count = parsePaths(text).length + here
  const trouble = useRef(/** @type {HTMLElement | null} */ (null))
  useEffect(() => field.current?.focus({ preventScroll: true }), [])
  useEffect(() => {
    if (inspectError) trouble.current?.scrollIntoView({ block: 'nearest' })
  }, [inspectError])

  return html`
    <div class="lib-place-body">
      <h2 class="lib-place-title" tabindex="-1" data-step-title>${t('import.title')}</h2>
      <div class="lib-target">
        <${Icon} name="tray" />
        <p>${t('import.drop')}</p>
        <div class="lib-actions">
          <${Picker} icon="file">${t('import.chooseFiles')}<//>
          <${Picker} icon="folder" folder>${t('import.chooseFolder')}<//>
        </div>
        ${sent.length === 0 && html`<p class="lib-note">${t('import.dropText')}</p>`}
      </div>
      ${sent.length > 0 && html`<${UploadList} />`}
      <label class="lib-label" for="lib-import-paths">${t('import.paths')}</label>
      <textarea
        id="lib-import-paths"
        class="lib-input lib-paths"
        dir="ltr"
        ref=${field}
        rows="3"
        spellcheck=${false}
        placeholder=${t('import.pathsHint')}
        value=${text}
        onInput=${(/** @type {any} */ event) => imports.setText(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void imports.inspect()
          if (event.key !== 'Escape') event.stopPropagation()
        }}
      ></textarea>
      <div class="lib-actions">
        <${Button} icon="folder" onClick=${folders.open}>${t('import.browse')}<//>
        <${Button} kind="primary" icon="search" busy=${inspecting} disabled=${count === 0} onClick=${imports.inspect}>
          ${inspecting ? t('import.inspecting') : t('import.inspect')}
        <//>
      </div>
      <div ref=${trouble}>
        ${inspectError && html`<${ErrorBox} what=${t('import.inspectFailed')} error=${inspectError} onRetry=${imports.inspect} />`}
        ${inspectError?.code === 'outside_allowed_roots' &&
        html`<p class="lib-callout" data-severity="info"><${Icon} name="info" /><span>${t('import.allow')} <button type="button" class="lib-link" onClick=${() => panel.view.openSheet('settings')}>${t('settings.allowed_roots')}</button></span></p>`}
        ${inspectError && spare &&
      html`<p class="lib-callout" data-severity="info"><${Icon} name="info" /><span>${t('import.uploadInstead')} <button type="button" class="lib-link" onClick=${() => uploadChosen(panel, imports.uploadSpare)}>${t('import.upload')}</button></span></p>`}
      </div>
      <p class="lib-note lib-quiet"><${Icon} name="shield" />${t('import.nothingYet')}</p>
      ${recent.length > 0 &&
      html`<h3 class="lib-group-title">${t('import.recent')}</h3>
        <ul class="lib-recents">${recent.map((job) => html`<${RecentImport} key=${job.id} job=${job} />`)}</ul>`}
    </div>
  `
}
