import { html } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, Empty, IconButton, ProgressBar } from './parts.mjs'

/** What the first start found, what it left alone, and what to do next. Until it was seen, or a model is in the library. */
export function FirstRun() {
  const { status, view } = usePanel()
  const { t, bytes } = useI18n()
  const { status: told } = useStore(status)
  const { introduced } = useStore(view)
  const { models = 0, in_place = 0, size_bytes } = told?.library ?? {}
  if (introduced || in_place === 0 || in_place < models) return null
  return html`<section class="lib-first-run" aria-label=${t('firstRun.label')}>
    <${Icon} name="library" />
    <div>
      <h2>${t('firstRun.found', { count: in_place, size: bytes(size_bytes) })}</h2>
      <p>${t('firstRun.untouched')}</p>
      <${Button} kind="primary" icon="drive" onClick=${() => {
        view.introduce()
        view.go('storage')
      }}>${t('firstRun.next')}<//>
    </div>
    <${IconButton} icon="close" class="is-small" label=${t('action.dismiss')} onClick=${view.introduce} />
  </section>`
}

/** Nothing is listed: it is still looked for, or there is nothing. @param {{indexing: boolean}} props */
export function NothingYet({ indexing }) {
  const { status, apps, view } = usePanel()
  const { t } = useI18n()
  const { status: told } = useStore(status)
  const { apps: all } = useStore(apps)
  if (indexing) {
    return html`<${Empty} icon="library" title=${t('empty.indexing')} text=${t('empty.indexingText')}>
      <${ProgressBar} progress=${told?.index.progress} label=${t('empty.indexing')} />
    <//>`
  }
  return html`<${Empty} icon="library" title=${t('empty.first')} text=${t('empty.firstText')}>
    ${(all ?? []).length > 0 && html`<p class="lib-note">${t('empty.looked', { folders: (all ?? []).map(({ root }) => root).join(', ') })}</p>`}
    <${Button} kind="primary" icon="tray" onClick=${() => view.go('import')}>${t('empty.firstStep')}<//>
  <//>`
}
