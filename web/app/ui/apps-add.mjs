import { html, useMemo, useState } from '../../vendor/htm-preact.mjs'
import { APP_KINDS } from '../stores/apps.mjs'
import { createFolders } from '../stores/folders.mjs'
import { PanelContext, useI18n, usePanel, useStore } from './context.mjs'
import { FolderBrowser } from './folder-browser.mjs'
import { Icon } from './icons.mjs'
import { PageHead } from './links-parts.mjs'
import { Button, ErrorBox, MiddleName } from './parts.mjs'

/** @import { LibrarianApp } from '../types.mjs' */

/** An app that was added just now: what it was taken for, and what can be done with it. @param {{app: LibrarianApp}} props */
function AddedCard({ app }) {
  const { links, apps } = usePanel()
  const { t, term } = useI18n()
  const { adding } = useStore(apps)
  const name = app.name || app.app
  const folders = Object.keys(app.folders ?? {}).length
  return html`<li class="lib-app" data-app=${app.app}>
    <div class="lib-app-text">
      <strong><bdi>${name}</bdi></strong>
      ${app.root && html`<${MiddleName} class="lib-entry-note" text=${app.root} />`}
      <label class="lib-kind-line">${t('apps.takenFor')}
        <select class="lib-input lib-resolution" value=${app.kind} disabled=${adding}
          onChange=${(/** @type {any} */ event) => apps.add([app.root ?? ''], event.target.value)}>
          ${APP_KINDS.map((kind) => html`<option key=${kind} value=${kind}>${term('apps.kind', kind)}</option>`)}
        </select>
      </label>
      <span class="lib-entry-note">${folders > 0 ? t('links.folders', { count: folders }) : t('apps.noFolders')}</span>
      ${(app.problems ?? []).map((problem) => html`<span class="lib-app-state" data-state="issues" key=${problem}><${Icon} name="warn" /><span dir="auto">${problem}</span></span>`)}
    </div>
    <${Button} kind="primary" onClick=${() => {
      links.open('apps')
      void links.preview(app.app)
    }}>${t('links.preview')}<//>
  </li>`
}

/** Add another app by the folder it lies in. */
export function AddApp() {
  const panel = usePanel()
  const { apps, links } = panel
  const { t } = useI18n()
  const { adding, addError, added } = useStore(apps)
  const [root, setRoot] = useState('')
  // The browser walks on its own, so that an import under way stays where it is.
  const folders = useMemo(() => createFolders(panel.api), [])
  const { open } = useStore(folders)
  const browsing = useMemo(
    () => ({ ...panel, folders, imports: { ...panel.imports, takePaths: (/** @type {string[]} */ paths) => apps.add(paths) } }),
    []
  )
  const add = async () => {
    if (!root.trim()) return
    await apps.add([root.trim()])
    if (!apps.get().addError) setRoot('')
  }
  if (open) return html`<${PanelContext.Provider} value=${browsing}><${FolderBrowser} /><//>`
  return html`<div class="lib-place-body">
    <${PageHead} title=${t('apps.addTitle')} onBack=${() => links.open('apps')} />
    <p class="lib-note">${t('apps.addText')}</p>
    <form class="lib-form" onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault()
      void add()
    }}>
      <label for="lib-app-root">${t('apps.root')}</label>
      <input id="lib-app-root" class="lib-input" type="text" dir="auto" spellcheck="false" autocomplete="off" placeholder="/home/me/stable-diffusion-webui" value=${root}
        onInput=${(/** @type {any} */ event) => setRoot(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key !== 'Escape' && event.stopPropagation()} />
      <div class="lib-actions">
        <${Button} kind="primary" icon="plus" type="submit" disabled=${!root.trim()} busy=${adding} onClick=${() => {}}>${t('apps.addThis')}<//>
        <${Button} icon="folder" onClick=${() => folders.open()}>${t('apps.browse')}<//>
      </div>
    </form>
    ${addError && html`<${ErrorBox} what=${t('apps.addFailed', { root: addError.root })} error=${addError.error} onDismiss=${apps.begin} />`}
    ${added.length > 0 && html`<p class="lib-callout" data-severity="success" role="status"><${Icon} name="check" /><span>${t('apps.added', { count: added.length })}</span></p>
      <ul class="lib-apps lib-added">${added.map((app) => html`<${AddedCard} key=${app.app} app=${app} />`)}</ul>`}
  </div>`
}
