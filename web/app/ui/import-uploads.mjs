import { html, useEffect, useRef } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { IconButton, MiddleName, ProgressBar, errorWords } from './parts.mjs'

/** @import { Upload } from '../stores/uploads.mjs' */

const ICONS = { waiting: 'file', sending: 'tray', paused: 'stop', done: 'check', failed: 'error' }

/** Milliseconds over which the rate is taken. */
const WINDOW = 5000
/** Uploads that are listed at once: those that want attention, or are under way, come first. */
const LISTED = 50

/** Bytes a second of a growing amount, or undefined as long as that is not known.
 * @param {number} amount @param {boolean} running */
function useRate(amount, running) {
  const samples = useRef(/** @type {{at: number, amount: number}[]} */ ([]))
  useEffect(() => {
    if (!running) samples.current = []
    else {
      const now = Date.now()
      samples.current = [...samples.current.filter(({ at }) => now - at < WINDOW), { at: now, amount }]
    }
  }, [amount, running])
  const first = samples.current[0]
  const seconds = first ? (Date.now() - first.at) / 1000 : 0
  return first && seconds >= 1 && amount > first.amount ? (amount - first.amount) / seconds : undefined
}

/** @param {{upload: Upload}} props */
function UploadEntry({ upload }) {
  const { uploads } = usePanel()
  const i18n = useI18n()
  const { t, bytes, percent } = i18n
  const { key, name, size, sent, state, error } = upload
  const said = error ? errorWords(error, i18n) : null
  const note =
    state === 'failed' && said
      ? [said.title, said.detail].filter(Boolean).join(' · ')
      : state === 'sending' || (state === 'paused' && sent > 0)
        ? t('upload.sent', { sent: bytes(sent), size: bytes(size), share: percent(size ? sent / size : 1) })
        : bytes(size)
  return html`<li class="lib-upload" data-state=${state}>
    <${Icon} name=${ICONS[state]} />
    <div class="lib-entry-text">
      <${MiddleName} text=${name} />
      <span class=${`lib-entry-note ${state === 'failed' ? 'lib-bad' : ''}`}>${[t(`upload.state.${state}`), note].join(' · ')}</span>
    </div>
    ${(state === 'sending' || state === 'waiting') && html`<${IconButton} icon="pause" label=${t('upload.pause', { name })} onClick=${() => uploads.pause(key)} />`}
    ${(state === 'paused' || state === 'failed') &&
    html`<${IconButton} icon=${state === 'failed' ? 'refresh' : 'play'} label=${t(state === 'failed' ? 'upload.retry' : 'upload.resume', { name })} onClick=${() => uploads.retry(key)} />`}
    <${IconButton} icon="close" label=${t('upload.cancel', { name })} onClick=${() => uploads.cancel(key)} />
    ${(state === 'sending' || state === 'paused') && html`<span class="lib-upload-bar" aria-hidden="true"><span style=${{ transform: `scaleX(${size ? sent / size : 0})` }}></span></span>`}
  </li>`
}

/** What is on its way from the browser. */
export function UploadList() {
  const { uploads: store } = usePanel()
  const { t } = useI18n()
  const { uploads } = useStore(store)
  const current = uploads.reduce((sum, { sent }) => sum + sent, 0)
  const total = uploads.reduce((sum, { size }) => sum + size, 0)
  const done = uploads.filter(({ state }) => state === 'done').length
  const failed = uploads.filter(({ state }) => state === 'failed').length
  const running = uploads.some(({ state }) => state === 'sending')
  const rate = useRate(current, running)
  const left = uploads.filter(({ state }) => state === 'sending' || state === 'waiting').reduce((sum, { size, sent }) => sum + size - sent, 0)
  const order = { failed: 0, sending: 1, paused: 2, waiting: 3, done: 4 }
  const listed = [...uploads].sort((one, other) => order[one.state] - order[other.state]).slice(0, LISTED)
  return html`<section class="lib-uploads" aria-label=${t('upload.title')}>
    <header>
      <h3>${t('upload.count', { count: uploads.length, done })}</h3>
      ${failed > 0 && html`<button type="button" class="lib-link" onClick=${() => uploads.filter(({ state }) => state === 'failed').forEach(({ key }) => store.retry(key))}>${t('upload.retryAll')}</button>`}
      <button type="button" class="lib-link" onClick=${() => uploads.forEach(({ key }) => store.cancel(key))}>${t('upload.cancelAll')}</button>
    </header>
    ${running && html`<${ProgressBar} label=${t('upload.title')} progress=${{ current, total, unit: 'bytes', rate, eta_s: rate ? left / rate : undefined }} />`}
    <ul>${listed.map((upload) => html`<${UploadEntry} key=${upload.key} upload=${upload} />`)}</ul>
    ${uploads.length > listed.length && html`<p class="lib-note">${t('upload.more', { count: uploads.length - listed.length })}</p>`}
  </section>`
}
