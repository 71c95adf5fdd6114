import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { errorWords } from './parts.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, IconButton } from './parts.mjs'

/** @param {{severity: 'info' | 'warn' | 'error', icon: string, children: any, action?: any, id: string}} props */
function Banner({ severity, icon, children, action, id }) {
  return html`<div class="lib-banner" data-severity=${severity} data-banner=${id}>
    <${Icon} name=${icon} />
    <span class="lib-banner-text">${children}</span>
    ${action}
  </div>`
}

/** Renders again each second while `running`. @param {boolean} running */
function useSeconds(running) {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    if (!running) return undefined
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [running])
  return now
}

/** What one should know at any moment: not answering, offline, limits, indexing, warnings. */
export function Banners() {
  const { status: store } = usePanel()
  const i18n = useI18n()
  const { t } = i18n
  const { status, receivedAt, error, asking } = useStore(store)
  const [hidden, setHidden] = useState(/** @type {string[]} */ ([]))
  const offline = Boolean(status?.network.offline)
  const now = useSeconds(offline && !error)

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
    if (offline) {
      const waits = (status.network.hosts ?? [])
        .filter(({ state }) => state !== 'closed')
        .map(({ retry_after_s }) => (retry_after_s ?? 0) - Math.floor((now - receivedAt) / 1000))
      const left = Math.max(0, ...waits)
      banners.push(html`<${Banner} key="offline" id="offline" severity="warn" icon="offline">
        ${t('banner.offline')} ${left > 0 && html`<span class="lib-banner-aside">${t('banner.retryIn', { time: i18n.duration(left) })}</span>`}
      <//>`)
    }
    const limit = status.network.rate_limit
    if (limit?.near_limit) {
      banners.push(html`<${Banner} key="limit" id="rate-limit" severity="warn" icon="warn">
        ${t('banner.rateLimit')}
        <span class="lib-banner-aside">${t('banner.rateLimitLeft', { host: limit.host, remaining: limit.remaining, limit: limit.limit })}</span>
      <//>`)
    }
    if (status.index.state === 'indexing') {
      const { current = 0, total = 0 } = status.index.progress ?? {}
      banners.push(html`<${Banner} key="indexing" id="indexing" severity="info" icon="library">
        ${total ? t('banner.indexing', { current, total }) : t('banner.indexingUnknown')}
        <span class="lib-banner-bar"><span style=${{ transform: `scaleX(${total ? Math.min(1, current / total) : 0})` }}></span></span>
      <//>`)
    } else if (status.index.state === 'error') {
      banners.push(html`<${Banner} key="index-error" id="index-error" severity="error" icon="error">${t('banner.indexError')}<//>`)
    }
    for (const { code, message } of status.warnings ?? []) {
      const id = `${code}:${message}`
      if (hidden.includes(id)) continue
      banners.push(html`<${Banner}
        key=${id} id=${code} severity="warn" icon="warn"
        action=${html`<${IconButton} icon="close" class="is-small" label=${t('action.dismiss')} onClick=${() => setHidden([...hidden, id])} />`}
      >${message}<//>`)
    }
  }
  return html`<div class="lib-banners" role="status" aria-live="polite">${banners}</div>`
}
