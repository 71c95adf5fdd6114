import { html } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { ErrorBox } from './parts.mjs'

const ICONS = { healthy: 'check', warnings: 'warn', errors: 'error' }

/** How the links do, in one line that opens the rest. */
export function HealthCard() {
  const { health, links } = usePanel()
  const { t } = useI18n()
  const { report, error, loading } = useStore(health)
  if (error) return html`<${ErrorBox} compact what=${t('health.failed')} error=${error} onRetry=${health.load} />`
  if (!report) return html`<p class="lib-health-card lib-note" aria-busy=${loading ? 'true' : 'false'}><span class="lib-spinner" aria-hidden="true"></span>${t('health.looking')}</p>`
  const text = report.total_issues === 0 ? t('health.healthy') : t('health.problems', { count: report.total_issues })
  return html`<button type="button" class="lib-health-card" data-status=${report.status} onClick=${() => {
    health.forgetResults()
    links.open('health')
  }}>
    <${Icon} name=${ICONS[report.status] ?? 'info'} /><span>${text}</span><${Icon} name="right" class="lib-turn" />
  </button>`
}
