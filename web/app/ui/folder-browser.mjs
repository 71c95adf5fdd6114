import { html, useEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { crumbsOf } from '../stores/folders.mjs'
import { baseName, fold } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, Empty, ErrorBox, IconButton, MiddleName, SkeletonRows } from './parts.mjs'

/** @import { BrowseEntry } from '../types.mjs' */

/** Entries drawn at once; more on request. */
const PAGE = 200
/** From this many on, the folder can be searched. */
const MANY = 15

/** From the allowed folders down to this one. */
function Crumbs() {
  const { folders } = usePanel()
  const { t } = useI18n()
  const { path, roots } = useStore(folders)
  const crumbs = crumbsOf(path, roots)
  return html`<nav class="lib-crumbs" aria-label=${t('browse.path')}>
    <ol>
      <li><button type="button" class="lib-link" aria-current=${path ? undefined : 'location'} onClick=${() => folders.go('')}>${t('browse.roots')}</button></li>
      ${crumbs.map(
        (crumb, at) => html`<li key=${crumb.path}><${Icon} name="right" /><button type="button" class="lib-link" title=${crumb.path}
          aria-current=${at === crumbs.length - 1 ? 'location' : undefined} onClick=${() => folders.go(crumb.path)}><${MiddleName} text=${baseName(crumb.name) || crumb.name} title=${crumb.path} /></button></li>`
      )}
    </ol>
  </nav>`
}

/**
 * Walks through the folders of the server that may be read. Files and whole folders are ticked, in any
 * number of folders, and taken together.
 */
export function FolderBrowser() {
  const { folders, imports } = usePanel()
  const { t, bytes } = useI18n()
  const { folder, path, roots, loading, error, picked } = useStore(folders)
  const list = useRef(/** @type {HTMLElement | null} */ (null))
  const [filter, setFilter] = useState('')
  const [shown, setShown] = useState(PAGE)
  const atTop = !folder?.path
  const all = error ? [] : atTop ? roots : (folder?.entries ?? [])
  const wanted = fold(filter).trim()
  const entries = wanted ? all.filter(({ name }) => fold(name).includes(wanted)) : all

  const rows = () => /** @type {HTMLElement[]} */ ([...(list.current?.querySelectorAll('[data-row]') ?? [])])
  useEffect(() => {
    setFilter('')
    setShown(PAGE)
    // Where one went with the keyboard, the keyboard goes on.
    if (list.current?.dataset['keys']) rows()[0]?.focus()
  }, [folder])

  /** @param {BrowseEntry} entry */
  const pickable = (entry) => entry.is_dir || entry.importable !== false
  const take = () => {
    folders.close()
    void imports.takePaths(picked)
  }

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const those = rows()
    const at = those.indexOf(/** @type {HTMLElement} */ (document.activeElement))
    const entry = entries[at]
    const goto = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: those.length - 1 }[event.key]
    if (goto !== undefined) those[Math.max(0, Math.min(goto, those.length - 1))]?.focus()
    else if (event.key === ' ' && entry) {
      if (pickable(entry)) folders.toggle(entry.path)
    } else if ((event.key === 'Backspace' || event.key === 'ArrowLeft') && path) void folders.go(folder?.parent ?? '')
    else if (event.key === 'ArrowRight' && entry?.is_dir) void folders.go(entry.path)
    else return
    if (list.current) list.current.dataset['keys'] = 'yes'
    event.preventDefault()
    event.stopPropagation()
  }

  /** @param {BrowseEntry} entry @param {number} at */
  const row = (entry, at) => {
    const able = pickable(entry)
    const ticked = picked.includes(entry.path)
    return html`<li key=${entry.path} class=${`lib-browse-entry ${able ? '' : 'is-off'} ${ticked ? 'is-picked' : ''}`}>
      <input type="checkbox" tabindex="-1" aria-label=${t('browse.pick', { name: entry.name })} checked=${ticked}
        disabled=${!able} onChange=${() => folders.toggle(entry.path)} />
      <button type="button" data-row tabindex=${at === 0 ? 0 : -1} disabled=${!able} aria-pressed=${entry.is_dir ? undefined : ticked ? 'true' : 'false'}
        onClick=${(/** @type {MouseEvent} */ event) => {
          if (list.current) list.current.dataset['keys'] = event.detail === 0 ? 'yes' : ''
          if (entry.is_dir) void folders.go(entry.path)
          else folders.toggle(entry.path)
        }}>
        <${Icon} name=${entry.is_dir ? 'folder' : 'file'} />
        ${atTop
          ? html`<span class="lib-entry-text"><${MiddleName} text=${baseName(entry.path) || entry.path} title=${entry.path} /><${MiddleName} class="lib-entry-note" text=${entry.path} /></span>`
          : html`<${MiddleName} text=${entry.name} title=${entry.path} />`}
        <span class="lib-browse-size">${entry.is_dir ? html`<${Icon} name="right" />` : bytes(entry.size)}</span>
      </button>
    </li>`
  }

  return html`
    <div class="lib-place-body lib-browse">
      <div class="lib-place-head">
        <${IconButton} icon="back" label=${t('browse.close')} onClick=${folders.close} />
        <h2 class="lib-place-title" tabindex="-1" data-step-title>${t('browse.title')}</h2>
      </div>
      <${Crumbs} />
      ${all.length > MANY &&
      html`<input type="search" class="lib-input" value=${filter} placeholder=${t('browse.filter')} aria-label=${t('browse.filter')}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => (event.key !== 'Escape' || filter) && event.stopPropagation()}
        onInput=${(/** @type {any} */ event) => setFilter(event.target.value)} />`}
      ${path && !error && html`<label class="lib-choice lib-browse-all">
        <input type="checkbox" checked=${picked.includes(path)} onChange=${() => folders.toggle(path)} />
        <span>${t('browse.whole')}</span>
      </label>`}
      ${error && html`<${ErrorBox} what=${t('browse.failed')} error=${error} onRetry=${() => folders.go(path)} />`}
      ${!folder && loading && html`<${SkeletonRows} count=${6} />`}
      ${folder && !loading && !error && all.length === 0 && html`<${Empty} icon="folder" title=${t('browse.empty')} text=${t('browse.emptyText')} />`}
      ${wanted && entries.length === 0 && html`<p class="lib-note">${t('browse.filterNone')}</p>`}
      <ul class="lib-browse-list" ref=${list} aria-label=${t('browse.entries')} aria-busy=${loading ? 'true' : 'false'} onKeyDown=${onKeyDown}>${entries.slice(0, shown).map(row)}</ul>
      ${entries.length > shown && html`<div class="lib-actions"><${Button} onClick=${() => setShown(shown + PAGE)}>${t('import.showMore', { count: Math.min(PAGE, entries.length - shown) })}<//></div>`}
    </div>
    <footer class="lib-place-foot">
      <${Button} kind="primary" icon="check" disabled=${picked.length === 0} onClick=${take}>
        ${t(picked.length > 0 ? 'browse.take' : 'browse.takeNone', { count: picked.length })}
      <//>
    </footer>
  `
}
