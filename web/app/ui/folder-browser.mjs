import { html } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, Empty, ErrorBox, IconButton, MiddleName, SkeletonRows } from './parts.mjs'

/** @import { BrowseEntry } from '../types.mjs' */

/** Walks through the server's allowed folders; whole folders can be ticked as well. */
export function FolderBrowser() {
  const { imports } = usePanel()
  const { t, bytes } = useI18n()
  const { folder, browsing, browseLoading, browseError, picked } = useStore(imports)
  const atRoots = !folder?.path
  const entries = folder?.entries ?? []

  /** @param {BrowseEntry} entry */
  const line = (entry) => {
    const pickable = entry.is_dir || entry.importable !== false
    return html`<li key=${entry.path} class=${`lib-browse-entry ${pickable || entry.is_dir ? '' : 'is-off'}`}>
      <input type="checkbox" aria-label=${t('browse.pick', { name: entry.name })} checked=${picked.includes(entry.path)}
        disabled=${!pickable} onChange=${() => imports.togglePick(entry.path)} />
      <button type="button" disabled=${!entry.is_dir && !pickable}
        onClick=${() => (entry.is_dir ? imports.browse(entry.path) : imports.togglePick(entry.path))}>
        <${Icon} name=${entry.is_dir ? 'folder' : 'file'} />
        <${MiddleName} text=${entry.name} title=${entry.path} />
        <span class="lib-browse-size">${entry.is_dir ? html`<${Icon} name="right" />` : bytes(entry.size)}</span>
      </button>
    </li>`
  }

  return html`
    <div class="lib-place-body lib-browse">
      <div class="lib-place-head">
        <${IconButton} icon="close" label=${t('browse.close')} onClick=${imports.closeBrowser} />
        <h2 class="lib-place-title">${t('browse.title')}</h2>
      </div>
      <div class="lib-browse-path">
        <${IconButton} icon="up" label=${t('browse.up')} disabled=${atRoots} onClick=${() => imports.browse(folder?.parent ?? '')} />
        ${atRoots ? html`<span>${t('browse.roots')}</span>` : html`<${MiddleName} text=${folder?.path ?? ''} />`}
      </div>
      ${browseError && html`<${ErrorBox} what=${t('browse.failed')} error=${browseError} onRetry=${() => imports.browse(browsing ?? '')} />`}
      ${!folder && browseLoading && html`<${SkeletonRows} count=${6} />`}
      ${folder && !browseError && entries.length === 0 && html`<${Empty} icon="folder" title=${t('browse.empty')} />`}
      <ul class="lib-browse-list" aria-busy=${browseLoading ? 'true' : 'false'}>${!browseError && entries.map(line)}</ul>
    </div>
    <footer class="lib-place-foot">
      <${Button} kind="primary" icon="check" disabled=${picked.length === 0} onClick=${imports.takePicked}>
        ${t('browse.take', { count: picked.length })}
      <//>
    </footer>
  `
}
