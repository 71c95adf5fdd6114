import { html, useState } from '../../vendor/htm-preact.mjs'
import { errorWords } from './parts.mjs'
import { useI18n, usePanel, useSeconds, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { beginScan } from './jobs-sheet.mjs'
import { Button, IconButton } from './parts.mjs'

/** @param {{severity: 'info' | 'warn' | 'error', icon: string, children: any, action?: any, id: string}} props */
function Banner({ severity, icon, children, action, id }) {
  return html`<div class="lib-banner" data-severity=${severity} data-banner=${id}>
    <${Icon} name=${icon} />
    <span class="lib-banner-text">${children}</span>
    ${action}
  </div>`
}

/** No host can be asked, or one of them cannot: what is shown is what is remembered. The seconds left are no news
 * to a screen reader. */
function OfflineBanner() {
  const { status: store, settings, view, lookForNetwork } = usePanel()
  const { t, duration } = useI18n()
  const { status, receivedAt } = useStore(store)
  const { settings: known } = useStore(settings)
  const [trying, setTrying] = useState(false)
  const hosts = (status?.network.hosts ?? []).filter(({ state }) => state !== 'closed')
  const now = useSeconds(hosts.length > 0)
  const offline = Boolean(status?.network.offline)
  if (!offline && hosts.length === 0) return null

  if (hosts.length === 0 || known?.['online'] === false) {
    return html`<${Banner} id="offline" severity="info" icon="offline"
      action=${html`<${Button} kind="quiet" onClick=${() => view.openSheet('settings')}>${t('settings.title')}<//>`}>
      ${t('banner.offline')} <span class="lib-banner-aside">${t('banner.switchedOff')}</span>
    <//>`
  }
  const waits = hosts.map(({ retry_after_s }) => (retry_after_s ?? 0) - Math.floor((now - receivedAt) / 1000))
  const left = Math.max(0, ...waits)
  const tryNow = async () => {
    setTrying(true)
    await lookForNetwork()
    setTrying(false)
  }
  return html`<${Banner} id="offline" severity="warn" icon="offline"
    action=${html`<${Button} kind="quiet" busy=${trying} onClick=${tryNow}>${t('banner.tryNow')}<//>`}>
    ${offline ? t('banner.offline') : t('banner.hostOffline', { host: hosts.map(({ host }) => host).join(', ') })}
    ${left > 0 && html` <span class="lib-banner-aside" role="timer" aria-live="off">${t('banner.retryIn', { time: duration(left) })}</span>`}
  <//>`
}

/** What one should know at any moment: not answering, offline, limits, indexing, warnings. */
export function Banners() {
  const panel = usePanel()
  const { status: store } = panel
  const i18n = useI18n()
  const { t } = i18n
  const { status, error, asking } = useStore(store)
  const [hidden, setHidden] = useState(/** @type {string[]} */ ([]))

  /** @type {any[]} */
  const banners = []
  if (error) {
    const said = errorWords(error, i18n)
    banners.push(html`<${Banner}
      key="gone" id="unreachable" severity="error" icon="offline"
      action=${html`<${Button} icon="refresh" busy=${asking} onClick=${store.load}>${t('error.retry')}<//>`}
    >
      <strong>${said.title}</strong> ${said.detail}
    <//>`)
  }
  if (status && !error) {
    banners.push(html`<${OfflineBanner} key="offline" />`)
    const limit = status.network.rate_limit
    // A host that cannot be asked at all is said above.
    if (limit?.near_limit && !status.network.offline) {
      banners.push(html`<${Banner} key="limit" id="rate-limit" severity="warn" icon="warn">
        ${t('banner.rateLimit')}
        <span class="lib-banner-aside" aria-live="off">
          ${limit.limit === null
            ? t('banner.rateLimitRest', { host: limit.host, remaining: limit.remaining })
            : t('banner.rateLimitLeft', { host: limit.host, remaining: limit.remaining, limit: limit.limit })}
          ${limit.reset_s > 0 ? ` · ${t('banner.rateLimitReset', { time: i18n.duration(limit.reset_s) })}` : ''}
        </span>
      <//>`)
    }
    if (status.index.state === 'indexing') {
      const { current = 0, total = 0 } = status.index.progress ?? {}
      banners.push(html`<${Banner} key="indexing" id="indexing" severity="info" icon="library">
        ${total ? t('banner.indexing', { current, total }) : t('banner.indexingUnknown')}
        <span class="lib-banner-bar"><span style=${{ transform: `scaleX(${total ? Math.min(1, current / total) : 0})` }}></span></span>
      <//>`)
    } else if (status.index.state === 'error') {
      banners.push(html`<${Banner} key="index-error" id="index-error" severity="error" icon="error"
        action=${html`<${Button} icon="refresh" onClick=${() => beginScan(panel, 'quick')}>${t('error.retry')}<//>`}>${t('banner.indexError')}<//>`)
    }
    for (const warning of status.warnings ?? []) {
      const { code, message } = warning
      const id = `${code}:${message}`
      // A download says itself, among the downloads, what came wrong and where it is kept.
      if (hidden.includes(id) || code === 'download_kept_aside') continue
      banners.push(html`<${Banner}
        key=${id} id=${code} severity="warn" icon="warn"
        action=${html`<${IconButton} icon="close" class="is-small" label=${t('action.dismiss')} onClick=${() => setHidden([...hidden, id])} />`}
      >${i18n.told(warning)}<//>`)
    }
  }
  return html`<div class="lib-banners" role="status" aria-live="polite">${banners}</div>`
}
