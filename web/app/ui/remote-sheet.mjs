import { html } from '../../vendor/htm-preact.mjs'
import { groupFiles } from '../remote-files.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Section, webAddress } from './details-sheet.mjs'
import { Icon } from './icons.mjs'
import { Button, ErrorBox, MiddleName, Sheet, SkeletonRows, TierBadge } from './parts.mjs'
import { RemoteFacts, remoteName } from './remote-section.mjs'

/** @import { FileGroup } from '../remote-files.mjs' */
/** @import { RemoteModel } from '../types.mjs' */

/** @param {{group: FileGroup, on: boolean}} props */
function FileChoice({ group, on }) {
  const { remote } = usePanel()
  const { t, bytes } = useI18n()
  const name = group.pipeline?.variant ? `${group.name} · ${group.pipeline.variant}` : group.name
  const weights = group.paths.filter((path) => !path.endsWith('.index.json')).length
  const whole = group.pipeline
  const note = [
    whole ? t('remote.wholeFolder', { count: whole.files.length }) : '',
    group.size === null ? '' : bytes(group.size),
    !whole && weights > 1 ? t('remote.parts', { count: weights }) : '',
    group.missing > 0 ? t('remote.partsMissing', { count: group.missing }) : ''
  ]
  return html`<li>
    <label class=${`lib-choice lib-remote-file ${on ? 'is-on' : ''}`}>
      <input type="checkbox" aria-label=${[name, ...note].filter(Boolean).join(', ')} checked=${on} disabled=${group.missing > 0} onChange=${() => remote.toggle(group.key)} />
      <span class="lib-entry-text">
        <${MiddleName} text=${name} />
        <span class="lib-entry-note">${note.filter(Boolean).join(' · ')}</span>
      </span>
      ${group.pickle && html`<${TierBadge} tier="pickle" />`}
    </label>
  </li>`
}

/** @param {{groups: FileGroup[], keys: string[]}} props */
const FileChoices = ({ groups, keys }) =>
  html`<ul class="lib-remote-files">${groups.map((group) => html`<${FileChoice} key=${group.key} group=${group} on=${keys.includes(group.key)} />`)}</ul>`

/** @param {{model: RemoteModel}} props */
function Terms({ model }) {
  const { settings, view } = usePanel()
  const { t, term } = useI18n()
  const { settings: known } = useStore(settings)
  if (!model.gated) return null
  const hasToken = Boolean(known?.[`${model.provider}_token_set`])
  const page = webAddress(model.page_url)
  return html`<div class="lib-callout" data-severity="warn">
    <${Icon} name="lock" />
    <div class="lib-callout-text">
      <p>${t(hasToken ? 'remote.gatedText' : 'remote.gatedToken', { provider: term('provider', model.provider) })}</p>
      <p class="lib-callout-actions">
        ${page && html`<a class="lib-button" href=${page} target="_blank" rel="noreferrer noopener"><${Icon} name="open" /><span class="lib-button-text">${t('remote.page')}</span></a>`}
        ${!hasToken && html`<${Button} icon="settings" onClick=${() => view.openSheet('settings')}>${t('remote.setToken')}<//>`}
      </p>
    </div>
  </div>`
}

/** A repository at its host: what it is, its files, and which of them are wanted. */
export function RemoteSheet() {
  const { remote, view } = usePanel()
  const { t, term, bytes } = useI18n()
  const { open } = useStore(remote)
  if (!open) return null
  const { model, keys, acknowledged, link, starting, error, filesLoading } = open
  const groups = groupFiles(model)
  const models = groups.filter(({ belongs }) => !belongs)
  const beside = groups.filter(({ belongs, part }) => belongs && !part)
  const parts = groups.filter(({ part }) => part)
  const chosen = groups.filter(({ key }) => keys.includes(key))
  const pickles = chosen.filter(({ pickle }) => pickle)
  const size = chosen.every((group) => group.size !== null) ? chosen.reduce((all, group) => all + Number(group.size), 0) : 0
  const page = webAddress(model.page_url)
  const start = async () => {
    if (await remote.start()) view.openSheet('jobs')
  }

  return html`<${Sheet} class="lib-details lib-remote-sheet" title=${remoteName(model)} onClose=${remote.close}>
    <div class="lib-identity">
      <span class="lib-tile is-large" aria-hidden="true"><${Icon} name="globe" /></span>
      <div class="lib-identity-text">
        <p class="lib-identity-facts">${[term('provider', model.provider), model.kind, model.base_model, model.author && t('remote.by', { author: model.author })].filter(Boolean).join(' · ')}</p>
        <p class="lib-remote-facts">
          <${RemoteFacts} model=${model} />
          ${model.licence && html`<span class="lib-remote-fact">${t('remote.licence', { licence: model.licence })}</span>`}
          ${model.nsfw && html`<span class="lib-badge">${t('remote.nsfw')}</span>`}
        </p>
        ${page && html`<p><a href=${page} target="_blank" rel="noreferrer noopener">${t('remote.page')}</a></p>`}
      </div>
    </div>
    <${Terms} model=${model} />
    ${model.description && html`<p class="lib-remote-description">${model.description}</p>`}
    ${filesLoading && groups.length === 0 && html`<${SkeletonRows} count=${3} />`}
    ${error && groups.length === 0 && html`<${ErrorBox} compact what=${t('remote.filesFailed')} error=${error} onRetry=${() => remote.open(model)} />`}
    ${!filesLoading && !error && groups.length === 0 && html`<p class="lib-callout" data-severity="info"><${Icon} name="info" /><span>${t('remote.noFiles')}</span></p>`}
    ${models.length > 0 && html`<${Section} title=${t('remote.files')}><${FileChoices} groups=${models} keys=${keys} /><//>`}
    ${beside.length > 0 &&
    html`<${Section} title=${t('remote.beside')}>
      <p class="lib-note">${t('remote.besideText')}</p>
      <${FileChoices} groups=${beside} keys=${keys} />
    <//>`}
    ${parts.length > 0 &&
    html`<details class="lib-more"><summary><${Icon} name="right" />${t('remote.folderParts', { count: parts.length })}</summary>
      <${FileChoices} groups=${parts} keys=${keys} />
    </details>`}
    ${groups.length > 0 &&
    html`<footer class="lib-remote-foot">
      ${pickles.length > 0 &&
      html`<label class="lib-choice lib-remote-pickle">
        <input type="checkbox" data-acknowledge checked=${acknowledged} onChange=${(/** @type {any} */ event) => remote.acknowledge(event.target.checked)} />
        <span><strong>${t('import.pickle', { count: pickles.length })}</strong> ${t('import.pickleText')} ${t('import.trustOne')} ${pickles.map(({ name }) => name).join(', ')}</span>
      </label>`}
      <label class="lib-switch">
        <input type="checkbox" role="switch" checked=${link} onChange=${(/** @type {any} */ event) => remote.setLink(event.target.checked)} />
        <span class="lib-switch-text">${t('import.link')}<small>${t('remote.linkText')}</small></span>
      </label>
      ${error && html`<${ErrorBox} compact what=${t('downloads.startFailed')} error=${error} />`}
      <${Button} kind="primary" icon="tray" busy=${starting} disabled=${chosen.length === 0 || (pickles.length > 0 && !acknowledged)} onClick=${start}>
        ${chosen.length === 0 ? t('remote.chooseFiles') : t('remote.download', { count: chosen.length })}${size ? ` · ${bytes(size)}` : ''}
      <//>
    </footer>`}
  <//>`
}
