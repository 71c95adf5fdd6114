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

/** Where each host makes tokens. @type {Record<string, string>} */
const TOKEN_PAGES = { huggingface_token: 'https://huggingface.co/settings/tokens', civitai_token: 'https://civitai.com/user/account' }

/** A secret: it can be set, replaced and forgotten, never read. @param {{name: string, isSet: boolean}} props */
function Secret({ name, isSet }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const [value, setValue] = useState('')
  const [editing, setEditing] = useState(false)
  const save = async () => {
    if (!value.trim() || !(await settings.save(name, value.trim()))) return
    setValue('')
    setEditing(false)
  }
  const id = `lib-secret-${name}`
  const page = TOKEN_PAGES[name]
  return html`<div class="lib-secret" role="group" aria-label=${t(`settings.${name}`)}>
    <label for=${id}>${t(`settings.${name}`)}</label>
    ${page && html`<small class="lib-note">${t(`settings.${name}Text`)} <a href=${page} target="_blank" rel="noreferrer noopener">${t('settings.tokenPage')}</a></small>`}
    ${isSet && !editing
      ? html`<div class="lib-secret-line">
          <span class="lib-badge lib-secret-set" id=${id}><${Icon} name="check" />${t('settings.isSetShort')}</span>
          <${Button} kind="quiet" icon="pencil" onClick=${() => setEditing(true)}>${t('settings.replace')}<//>
          <${Button} kind="quiet" icon="trash" busy=${saving === name} onClick=${() => settings.save(name, null)}>${t('settings.forget')}<//>
        </div>`
      : html`<div class="lib-secret-line">
          <input id=${id} class="lib-input" type="password" autocomplete="off" value=${value}
            placeholder=${isSet ? t('settings.isSet') : t('settings.notSet')}
            onInput=${(/** @type {any} */ event) => setValue(event.target.value)}
            onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
              if (event.key === 'Enter') void save()
              if (event.key === 'Escape' && isSet) setEditing(false)
              if (event.key !== 'Escape' || isSet) event.stopPropagation()
            }} />
          <${Button} disabled=${!value.trim()} busy=${saving === name} onClick=${save}>${t('edit.save')}<//>
          ${isSet && html`<${Button} kind="quiet" onClick=${() => setEditing(false)}>${t('action.cancel')}<//>`}
        </div>`}
  </div>`
}

/** A line that is saved with its button or Enter; what is not accepted stays to be mended.
 * @param {{name: string, value: string, note: string, placeholder?: string, unit?: string, check?: (text: string) => string,
 *   toValue: (text: string) => unknown, width?: string}} props `check` answers what is wrong */
function Line({ name, value, note, placeholder = '', unit, check = () => '', toValue }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const [draft, setDraft] = useState(/** @type {string | null} */ (null))
  const shown = draft ?? value
  const changed = draft !== null && draft.trim() !== value
  const wrong = changed ? check(draft.trim()) : ''
  const save = async () => {
    if (!changed || wrong) return
    if (await settings.save(name, toValue(draft.trim()))) setDraft(null)
  }
  const id = `lib-setting-${name}`
  return html`<div class="lib-secret">
    <label for=${id}>${t(`settings.${name}`)}</label>
    <small class="lib-note" id=${`${id}-note`}>${note}</small>
    <div class="lib-secret-line">
      <input id=${id} class="lib-input" type="text" inputmode=${unit ? 'decimal' : undefined} spellcheck=${false} autocomplete="off" value=${shown}
        placeholder=${placeholder} aria-describedby=${`${id}-note`} aria-invalid=${wrong ? 'true' : undefined}
        onInput=${(/** @type {any} */ event) => setDraft(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === 'Enter') void save()
          if (event.key !== 'Escape') event.stopPropagation()
        }} />
      ${unit && html`<span class="lib-note">${unit}</span>`}
      <${Button} disabled=${!changed || Boolean(wrong)} busy=${saving === name} onClick=${save}>${t('edit.save')}<//>
    </div>
    ${wrong && html`<p class="lib-note lib-bad" role="alert">${wrong}</p>`}
  </div>`
}

/** How many imports at once on one drive. @param {{value: number | null}} props */
function Width({ value }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const id = 'lib-setting-transfers_at_once'
  return html`<div class="lib-secret">
    <label for=${id}>${t('settings.transfers_at_once')}</label>
    <small class="lib-note">${t('settings.transfers_at_onceText')}</small>
    <select id=${id} class="lib-input" disabled=${saving === 'transfers_at_once'} value=${String(value ?? 0)}
      onChange=${(/** @type {any} */ event) => settings.save('transfers_at_once', Number(event.target.value))}>
      ${Array.from({ length: 9 }, (_, count) => html`<option key=${count} value=${String(count)}>${count === 0 ? t('settings.automatic') : count}</option>`)}
    </select>
  </div>`
}

/** Asks about every model that has not been recognised. */
function RetryLookups() {
  const { api, jobs, toast } = usePanel()
  const { t, told } = useI18n()
  const [asking, setAsking] = useState(false)
  const start = async () => {
    setAsking(true)
    try {
      const { job } = await api.post('/lookup/retry')
      if (job) jobs.started(job)
      toast('info', t('settings.retryStarted'))
    } catch (error) {
      toast('error', t('lookup.failed'), told(/** @type {Error} */ (error)))
    }
    setAsking(false)
  }
  return html`<div class="lib-secret">
    <div class="lib-secret-line"><${Button} icon="globe" busy=${asking} onClick=${start}>${t('settings.retry')}<//></div>
    <small class="lib-note">${t('settings.retryText')}</small>
  </div>`
}

const MEGABYTE = 1_000_000

/** Bytes a second as people write megabytes. @param {number | null | undefined} bytes */
const megabytes = (bytes) => (bytes ? String(bytes / MEGABYTE) : '')
/** @param {string} text */
const inBytes = (text) => Math.round(Number(text.replace(',', '.')) * MEGABYTE)

/** A list that grows and shrinks: folders that may be browsed, hosts that may be asked.
 * @param {{name: string, values: string[], icon: string, placeholder: string}} props */
function ListSetting({ name, values, icon, placeholder }) {
  const { settings } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(settings)
  const [draft, setDraft] = useState('')
  const busy = saving === name
  const add = async () => {
    const value = draft.trim()
    if (value && (await settings.save(name, [...new Set([...values, value])]))) setDraft('')
  }
  return html`<div class="lib-secret">
    <p class="lib-note">${t(`settings.${name}Text`)}</p>
    <ul class="lib-entries">
      ${values.map(
        (value) => html`<li class="lib-entry" key=${value}>
          <${Icon} name=${icon} />
          <div class="lib-entry-text"><${MiddleName} text=${value} /></div>
          <${IconButton} icon="trash" label=${t('settings.takeOut', { folder: value })} disabled=${busy}
            onClick=${() => settings.save(name, values.filter((other) => other !== value))} />
        </li>`
      )}
    </ul>
    <div class="lib-secret-line">
      <input class="lib-input" type="text" aria-label=${t(`settings.${name}`)} placeholder=${placeholder} value=${draft}
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
  const wanted = settings?.['library_root']
  const opened = told?.library.root ?? wanted
  return html`<${Sheet} title=${t('settings.title')} onClose=${view.closeSheet} class="lib-side">
    ${error && html`<${ErrorBox} what=${t('settings.failed')} error=${error} onRetry=${store.load} />`}
    ${saveError && html`<${ErrorBox} compact what=${t('settings.saveFailed')} error=${saveError} />`}
    ${settings?.['restart_required'] && html`<p class="lib-callout" data-severity="info" role="status"><${Icon} name="info" /><span>${t('settings.restart')}</span></p>`}
    ${!settings && !error && html`<${SkeletonRows} count=${4} />`}
    ${settings &&
    html`
      <${Section} title=${t('settings.library')}>
        ${opened && html`<span class="lib-entry-path"><${MiddleName} text=${opened} /><${CopyButton} value=${opened} label=${t('files.copyPath')} /></span>`}
        ${told && html`<p class="lib-note">${t('settings.counts', { models: told.library.models, in_place: told.library.in_place ?? 0 })}</p>`}
        ${wanted && opened && wanted !== opened && html`<p class="lib-callout" data-severity="info" role="status"><${Icon} name="info" /><span>${t('settings.library_rootNext', { folder: wanted })}</span></p>`}
        ${wanted && html`<${Line} name="library_root" value=${wanted} note=${t('settings.library_rootText')} placeholder=${t('settings.fullPath')} toValue=${(/** @type {string} */ text) => text} />`}
        ${typeof settings['index_in_place'] === 'boolean' && html`<${Switch} name="index_in_place" on=${settings['index_in_place']} />`}
      <//>
      ${Array.isArray(settings['allowed_roots']) &&
      html`<${Section} title=${t('settings.allowed_roots')}><${ListSetting} name="allowed_roots" values=${settings['allowed_roots']} icon="folder" placeholder=${t('settings.fullPath')} /><//>`}
      <${Section} title=${t('settings.network')}>
        ${typeof settings['online'] === 'boolean' && html`<${Switch} name="online" on=${settings['online']} />`}
        ${typeof settings['remote_search'] === 'boolean' && settings['online'] !== false && html`<${Switch} name="remote_search" on=${settings['remote_search']} />`}
        ${SECRETS.map((name) => `${name}_set` in settings && html`<${Secret} key=${name} name=${name} isSet=${Boolean(settings[`${name}_set`])} />`)}
        ${settings['online'] !== false && html`<${RetryLookups} />`}
      <//>
      ${Array.isArray(settings['allowed_hosts']) &&
      html`<${Section} title=${t('settings.allowed_hosts')}>
        <${ListSetting} name="allowed_hosts" values=${settings['allowed_hosts']} icon="globe" placeholder="mirror.example" />
        ${typeof settings['allow_private_addresses'] === 'boolean' && html`<${Switch} name="allow_private_addresses" on=${settings['allow_private_addresses']} />`}
      <//>`}
      ${('transfers_at_once' in settings || 'download_limit' in settings) &&
      html`<${Section} title=${t('settings.transfers')}>
        ${'transfers_at_once' in settings && html`<${Width} value=${settings['transfers_at_once']} />`}
        ${'download_limit' in settings &&
        html`<${Line} name="download_limit" value=${megabytes(settings['download_limit'])} note=${t('settings.download_limitText')}
          placeholder=${t('settings.noLimit')} unit=${t('settings.perSecond')} toValue=${inBytes}
          check=${(/** @type {string} */ text) => (text === '' || inBytes(text) >= 10_000 ? '' : t('settings.badNumber'))} />`}
      <//>`}
      ${typeof settings['allow_remote'] === 'boolean' &&
      html`<${Section} title=${t('settings.remote')}>
        <${Switch} name="allow_remote" on=${settings['allow_remote']} />
        ${'remote_token_set' in settings && html`<${Secret} name="remote_token" isSet=${Boolean(settings['remote_token_set'])} />`}
      <//>`}
    `}
    ${told && html`<${Section} title=${t('settings.about')}><p class="lib-note">${t('app.title')} ${told.version}</p><//>`}
  <//>`
}
