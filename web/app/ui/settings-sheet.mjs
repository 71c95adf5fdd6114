import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Section } from './details-sheet.mjs'
import { Button, CopyButton, ErrorBox, MiddleName, Sheet, SkeletonRows } from './parts.mjs'

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

const SWITCHES = ['online', 'index_in_place']
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
    ${!settings && !error && html`<${SkeletonRows} count=${4} />`}
    ${settings &&
    html`
      <${Section} title=${t('settings.library')}>
        ${root && html`<span class="lib-entry-path"><${MiddleName} text=${root} /><${CopyButton} value=${root} label=${t('files.copyPath')} /></span>`}
        ${told && html`<p class="lib-note">${t('settings.counts', { models: told.library.models, in_place: told.library.in_place ?? 0 })}</p>`}
        ${SWITCHES.slice(1).map((name) => typeof settings[name] === 'boolean' && html`<${Switch} key=${name} name=${name} on=${settings[name]} />`)}
      <//>
      <${Section} title=${t('settings.network')}>
        ${typeof settings['online'] === 'boolean' && html`<${Switch} name="online" on=${settings['online']} />`}
        ${SECRETS.map((name) => `${name}_set` in settings && html`<${Secret} key=${name} name=${name} isSet=${Boolean(settings[`${name}_set`])} />`)}
      <//>
    `}
    ${told && html`<${Section} title=${t('settings.about')}><p class="lib-note">${t('app.title')} ${told.version}</p><//>`}
  <//>`
}
