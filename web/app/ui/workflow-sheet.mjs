import { html, useEffect } from '../../vendor/htm-preact.mjs'
import { canBeHad, targetOf, unaccepted } from '../stores/workflow.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { DownloadEntry } from './downloads-list.mjs'
import { Icon, iconOf } from './icons.mjs'
import { Button, Empty, ErrorBox, MiddleName, Sheet, SkeletonRows } from './parts.mjs'

/** @import { Missing } from '../stores/workflow.mjs' */

/** In the panel, whatever place is open: the open workflow misses something. */
export function WorkflowNotice() {
  const { workflow, view } = usePanel()
  const { t } = useI18n()
  const state = useStore(workflow)
  const { sheet } = useStore(view)
  const missing = state.missing.length
  const differing = unaccepted(state).length
  if (missing + differing === 0 || sheet === 'workflow') return null
  return html`<div class="lib-banner" data-severity="warn" data-banner="workflow" role="status">
    <${Icon} name="warn" />
    <span class="lib-banner-text">${missing ? t('workflow.misses', { count: missing }) : t('workflow.differs', { count: differing })}</span>
    <${Button} onClick=${() => view.openSheet('workflow')}>${t('workflow.show')}<//>
  </div>`
}

/** Several that may be meant: the person says which. @param {{one: Missing}} props */
function Candidates({ one }) {
  const { workflow } = usePanel()
  const { t, term, bytes } = useI18n()
  const { choices, fixing } = useStore(workflow)
  return html`<fieldset class="lib-candidates" disabled=${fixing}>
    <legend>${t('workflow.nearest')}</legend>
    ${one.candidates.map(
      (candidate) => html`<label key=${candidate.model_id}>
        <input
          type="radio"
          name=${`candidate-${one.key}`}
          checked=${choices[one.key] === candidate.model_id}
          onChange=${() => workflow.choose(one.key, candidate.model_id)}
        />
        <span class="lib-candidate-text">
          <${MiddleName} text=${candidate.value ?? candidate.name} title=${candidate.model_id} />
          <small>${[term('subtype', candidate.subtype), bytes(candidate.size_bytes)].filter(Boolean).join(' · ')}</small>
        </span>
      </label>`
    )}
    ${choices[one.key] &&
    html`<button type="button" class="lib-text-button" onClick=${() => workflow.choose(one.key, '')}>${t('workflow.noneOfThese')}</button>`}
  </fieldset>`
}

/** Where it can be had, and how far it has come. @param {{one: Missing}} props */
function Source({ one }) {
  const { workflow, downloads } = usePanel()
  const { t } = useI18n()
  const { refused } = useStore(workflow)
  useStore(downloads)
  const download = workflow.downloadFor(one)
  if (download) return html`<ul class="lib-job-list"><${DownloadEntry} download=${download} named=${false} /></ul>`
  const address = one.url ?? ''
  let place = address
  try {
    place = new URL(address).host
  } catch {
    // Then the whole of it is shown.
  }
  const error = refused[one.key]
  return html`<p class="lib-missing-what">
      <a href=${address} target="_blank" rel="noreferrer noopener" title=${address}>${t('workflow.from', { place })}</a>
    </p>
    ${error && html`<${ErrorBox} compact what=${t('downloads.startFailed')} error=${error} />`}
    <${Button} icon="tray" aria-label=${`${t('workflow.download')}: ${one.name}`} onClick=${() => workflow.download(one)}>${t('workflow.download')}<//>`
}

/** @param {{one: Missing}} props */
function MissingEntry({ one }) {
  const { workflow } = usePanel()
  const { t, term } = useI18n()
  const { choices, fixing } = useStore(workflow)
  const target = targetOf(one, choices)
  const certain = targetOf(one, {})
  const action = () => {
    if (!target) return ''
    return target.value === null ? t('workflow.linkAndUse') : t('workflow.use')
  }
  return html`<li class="lib-missing" data-state=${one.state}>
    <span class="lib-tile" aria-hidden="true"><${Icon} name=${iconOf(one.folder)} /></span>
    <div class="lib-missing-text">
      <strong><${MiddleName} text=${one.name} /></strong>
      <span class="lib-missing-where">${term('subtype', one.folder)}</span>
      ${certain &&
      html`<p class="lib-missing-what"><${Icon} name="check" />
        ${certain.value && !one.ours ? html`<span>${t('workflow.elsewhere')} <code>${certain.value}</code></span>` : t(one.ours ? 'workflow.otherId' : 'workflow.inLibrary')}
      </p>`}
      ${!certain && one.state === 'unknown' && one.candidates.length === 0 && html`<p class="lib-missing-what">${t('workflow.unknown')}</p>`}
      ${!certain && one.candidates.length > 0 && html`<${Candidates} one=${one} />`}
      ${one.hash_mismatch && html`<p class="lib-missing-what" data-severity="warn"><${Icon} name="warn" /><span>${t('workflow.otherBytes')}</span></p>`}
      ${(one.state === 'downloadable' || one.hash_mismatch) && canBeHad(one) && html`<${Source} one=${one} />`}
      ${one.hash_mismatch && !target && html`<${Button} kind="quiet" aria-label=${`${t('workflow.useAnyway')}: ${one.name}`} onClick=${() => workflow.accept(one)}>${t('workflow.useAnyway')}<//>`}
      ${target && html`<${Button} disabled=${fixing} onClick=${() => workflow.fix([one])} aria-label=${`${action()}: ${one.name}`}>${action()}<//>`}
    </div>
  </li>`
}

/** What the open workflow does not get as it stands, and putting it right. */
export function WorkflowSheet() {
  const { workflow, downloads, view } = usePanel()
  const { t } = useI18n()
  const state = useStore(workflow)
  const { missing, total, looked, looking, error, choices, fixing, fixError, done } = state
  const differing = unaccepted(state)
  useEffect(() => downloads.watch(), [])
  // Beside what was pressed: the button below the list, or none.
  const failure = error && html`<${ErrorBox} what=${t('workflow.failed')} error=${error} onRetry=${workflow.look} />`
  const fixable = missing.filter((one) => targetOf(one, choices)).length
  return html`<${Sheet} title=${t('workflow.title')} onClose=${view.closeSheet} class="lib-side lib-workflow">
    ${missing.length === 0 && failure}
    ${fixError && html`<${ErrorBox} compact what=${t('workflow.fixFailed')} error=${fixError} onRetry=${workflow.fixAll} />`}
    <div role="status" aria-live="polite">
      ${done && done.fixed > 0 && html`<p class="lib-callout" data-severity="success"><${Icon} name="check" /><span>${t('workflow.fixed', { count: done.fixed })}</span></p>`}
      ${done && done.left.length > 0 && html`<p class="lib-callout" data-severity="warn"><${Icon} name="warn" /><span>${t('workflow.left', { names: done.left.join(', ') })}</span></p>`}
      ${done && done.noNode.length > 0 && html`<p class="lib-callout" data-severity="warn"><${Icon} name="warn" /><span>${t('workflow.noNode', { names: done.noNode.join(', ') })}</span></p>`}
    </div>
    ${!looked && looking && html`<${SkeletonRows} count=${3} />`}
    ${looked && !error && missing.length + differing.length === 0 && html`<${Empty} icon="check" title=${t('workflow.nothing')} text=${t('workflow.nothingText', { count: total })} />`}
    ${missing.length > 0 &&
    html`<div class="lib-workflow-head">
        <p>${t('workflow.misses', { count: missing.length })}</p>
        <${Button} kind="primary" busy=${fixing} disabled=${fixable === 0} onClick=${workflow.fixAll}>${t('workflow.fixAll', { count: fixable })}<//>
      </div>
      <ul class="lib-missing-list" aria-label=${t('workflow.list')}>${missing.map((one) => html`<${MissingEntry} key=${one.key} one=${one} />`)}</ul>`}
    ${differing.length > 0 &&
    html`<h3 class="lib-group-title">${t('workflow.differs', { count: differing.length })}</h3>
      <ul class="lib-missing-list" aria-label=${t('workflow.differing')}>${differing.map((one) => html`<${MissingEntry} key=${one.key} one=${one} />`)}</ul>`}
    ${missing.length > 0 && failure}
    <div class="lib-workflow-foot">
      <${Button} kind="quiet" icon="refresh" busy=${looking} onClick=${workflow.look}>${t('workflow.again')}<//>
    </div>
  <//>`
}
