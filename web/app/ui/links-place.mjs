import { html, useEffect, useRef } from '../../vendor/htm-preact.mjs'
import { AddApp } from './apps-add.mjs'
import { AppsPage } from './apps-page.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { HealthPage } from './health-page.mjs'
import { MovePage } from './links-move.mjs'
import { Planning } from './links-plan.mjs'
import { MappingPage } from './mappings-page.mjs'

const PAGES = { apps: AppsPage, add: AddApp, health: HealthPage, move: MovePage, mapping: MappingPage }

/** Links from apps' folders to the library's models. */
export function LinksPlace() {
  const { links, apps, health } = usePanel()
  const { t } = useI18n()
  const { plan, planError, previewing, jobId, page } = useStore(links)
  const column = useRef(/** @type {HTMLElement | null} */ (null))
  const first = useRef(true)
  const shown = jobId ? 'result' : plan ? 'plan' : previewing || planError ? 'preview' : page
  const planning = shown === 'result' || shown === 'plan' || shown === 'preview'

  useEffect(() => {
    void apps.load()
    void health.load()
  }, [])

  useEffect(() => {
    // A new page begins at its title, for the keyboard as for the eye.
    if (!first.current) /** @type {HTMLElement | null} */ (column.current?.querySelector('[data-page-title]'))?.focus()
    first.current = false
  }, [shown])

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    // Esc is the same as the arrow at the top, which asks where something would be lost.
    const back = /** @type {HTMLElement | null} */ (column.current?.querySelector('.lib-place-head button'))
    if (event.key !== 'Escape' || !back) return
    event.stopPropagation()
    event.preventDefault()
    back.click()
  }

  const Page = PAGES[page]
  return html`<section class=${`lib-column lib-links ${shown === 'mapping' ? 'is-wide' : ''}`} aria-label=${t('places.links')} ref=${column} onKeyDown=${onKeyDown}>
    ${planning ? html`<${Planning} />` : html`<${Page} />`}
  </section>`
}
