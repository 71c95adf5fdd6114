import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Section } from './details-sheet.mjs'
import { Icon } from './icons.mjs'
import { Button, CopyButton, ErrorBox, IconButton, MiddleName, Sheet, SkeletonRows } from './parts.mjs'

/** A switch for a setting that is on or off. @param {{name: string, on: boolean}} props */
function Switch({ name, on }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  return html`<label class="lib-switch">
    <input type="checkbox" role="switch" checked=${on} disabled=${saving === name} onChange=${(/** @type {any} */ event) => settings.save(name, event.target.checked)} />
    <span class="lib-switch-text">${t(`settings.${name}`)}<small>${t(`settings.${name}Text`)}</small></span>
  </label>`
}

/** A secret: it can be set and forgotten, never read. @param {{name: string, isSet: boolean}} props */
function Secret({ name, isSet }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const [value, setValue] = useState('')
  const save = async () => {
    if (value.trim() && (await settings.save(name, value.trim()))) setValue('')
  }
  const id = `lib-secret-${name}`
  return html`<div class="lib-secret">
    <label for=${id}>${t(`settings.${name}`)}</label>
    <div class="lib-secret-line">
      <input id=${id} class="lib-input" type="password" autocomplete="off" value=${value}
        placeholder=${isSet ? t('settings.isSet') : t('settings.notSet')}
        onInput=${(/** @type {any} */ event) => setValue(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === 'Enter') void save()
          if (event.key !== 'Escape') event.stopPropagation()
        }} />
      <${Button} disabled=${!value.trim()} busy=${saving === name} onClick=${save}>${t('edit.save')}<//>
      ${isSet && html`<${Button} kind="quiet" icon="trash" onClick=${() => settings.save(name, null)}>${t('settings.forget')}<//>`}
    </div>
  </div>`
}

/** Folders outside the library and the apps that may be browsed and imported from. @param {{folders: string[]}} props */
function AllowedFolders({ folders }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const [draft, setDraft] = useState('')
  const busy = saving === 'allowed_roots'
  const add = async () => {
    const folder = draft.trim()
    if (folder && (await settings.save('allowed_roots', [...new Set([...folders, folder])]))) setDraft('')
  }
  return html`<div class="lib-secret">
    <p class="lib-note">${t('settings.allowed_rootsText')}</p>
    <ul class="lib-entries">
      ${folders.map(
        (folder) => html`<li class="lib-entry" key=${folder}>
          <${Icon} name="folder" />
          <div class="lib-entry-text"><${MiddleName} text=${folder} /></div>
          <${IconButton} icon="trash" label=${t('settings.takeOut', { folder })} disabled=${busy}
            onClick=${() => settings.save('allowed_roots', folders.filter((other) => other !== folder))} />
        </li>`
      )}
    </ul>
    <div class="lib-secret-line">
      <input class="lib-input" type="text" aria-label=${t('settings.allowed_roots')} placeholder=${t('settings.fullPath')} value=${draft}
        onInput=${(/** @type {any} */ event) => setDraft(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === 'Enter') void add()
          if (event.key !== 'Escape') event.stopPropagation()
        }} />
      <${Button} icon="plus" disabled=${!draft.trim()} busy=${busy} onClick=${add}>${t('settings.add')}<//>
    </div>
  </div>`
}

const SECRETS = ['huggingface_token', 'civitai_token']

/** What `/settings` offers and the panel has words for. */
export function SettingsSheet() {
  const { settings: store, view, status } = usePanel()
  const { t } = useI18n()
  const { settings, error, saveError } = useStore(store)
  const { status: told } = useStore(status)
  useEffect(() => void store.load(), [])
  const root = settings?.['library_root'] ?? told?.library.root
  return html`<${Sheet} title=${t('settings.title')} onClose=${view.closeSheet} class="lib-side">
    ${error && html`<${ErrorBox} what=${t('settings.failed')} error=${error} onRetry=${store.load} />`}
    ${saveError && html`<${ErrorBox} compact what=${t('settings.saveFailed')} error=${saveError} />`}
    ${settings?.['restart_required'] && html`<p class="lib-callout" data-severity="info" role="status"><${Icon} name="info" /><span>${t('settings.restart')}</span></p>`}
    ${!settings && !error && html`<${SkeletonRows} count=${4} />`}
    ${settings &&
    html`
      <${Section} title=${t('settings.library')}>
        ${root && html`<span class="lib-entry-path"><${MiddleName} text=${root} /><${CopyButton} value=${root} label=${t('files.copyPath')} /></span>`}
        ${told && html`<p class="lib-note">${t('settings.counts', { models: told.library.models, in_place: told.library.in_place ?? 0 })}</p>`}
        ${typeof settings['index_in_place'] === 'boolean' && html`<${Switch} name="index_in_place" on=${settings['index_in_place']} />`}
      <//>
      ${Array.isArray(settings['allowed_roots']) &&
      html`<${Section} title=${t('settings.allowed_roots')}><${AllowedFolders} folders=${settings['allowed_roots']} /><//>`}
      <${Section} title=${t('settings.network')}>
        ${typeof settings['online'] === 'boolean' && html`<${Switch} name="online" on=${settings['online']} />`}
        ${SECRETS.map((name) => `${name}_set` in settings && html`<${Secret} key=${name} name=${name} isSet=${Boolean(settings[`${name}_set`])} />`)}
      <//>
      ${typeof settings['allow_remote'] === 'boolean' &&
      html`<${Section} title=${t('settings.remote')}>
        <${Switch} name="allow_remote" on=${settings['allow_remote']} />
        ${'remote_token_set' in settings && html`<${Secret} name="remote_token" isSet=${Boolean(settings['remote_token_set'])} />`}
      <//>`}
    `}
    ${told && html`<${Section} title=${t('settings.about')}><p class="lib-note">${t('app.title')} ${told.version}</p><//>`}
  <//>`
}
