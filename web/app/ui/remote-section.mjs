import { html, useEffect, useRef } from '../../vendor/htm-preact.mjs'
import { remoteKey, remoteSize, remoteTier } from '../remote-files.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, ErrorBox, MiddleName, SkeletonRows, TierBadge } from './parts.mjs'

/** @import { RemoteModel } from '../types.mjs' */

/** So few models of one's own leave more room for others. */
const FEW = 6

/** What people call it: a repository's path says who made it. @param {RemoteModel} model */
export const remoteName = (model) =>
  model.provider === 'civitai' ? [model.name, model.version].filter(Boolean).join(' · ') || model.repo_id : model.repo_id

/** How often it was taken and liked, and how large it is. @param {{model: RemoteModel}} props */
export function RemoteFacts({ model }) {
  const { t, bytes, compact } = useI18n()
  const size = remoteSize(model)
  return html`
    ${size !== null && html`<span class="lib-remote-fact">${bytes(size)}</span>`}
    ${Boolean(model.downloads) &&
    html`<span class="lib-remote-fact" title=${t('remote.downloads', { count: model.downloads ?? 0 })}>
      <${Icon} name="tray" /><span aria-hidden="true">${compact(model.downloads ?? 0)}</span><span class="lib-unseen">${t('remote.downloads', { count: model.downloads ?? 0 })}</span>
    </span>`}
    ${Boolean(model.likes) &&
    html`<span class="lib-remote-fact" title=${t('remote.likes', { count: model.likes ?? 0 })}>
      <${Icon} name="heart" /><span aria-hidden="true">${compact(model.likes ?? 0)}</span><span class="lib-unseen">${t('remote.likes', { count: model.likes ?? 0 })}</span>
    </span>`}
  `
}

/** @param {{model: RemoteModel, isOpen: boolean}} props */
function RemoteRow({ model, isOpen }) {
  const { remote, details } = usePanel()
  const { t, term, bytes } = useI18n()
  const tier = remoteTier(model)
  const size = remoteSize(model)
  // A name that is cut in its middle is read as two words.
  const said = [
    remoteName(model), term('provider', model.provider), size !== null && bytes(size), model.downloads && t('remote.downloads', { count: model.downloads }),
    model.likes && t('remote.likes', { count: model.likes }), model.gated && t('remote.gated'), tier && term('tier', tier)
  ]
  return html`<li>
    <button type="button" class=${`lib-row lib-remote-row ${isOpen ? 'is-open' : ''}`} data-remote=${remoteKey(model)} aria-label=${said.filter(Boolean).join(', ')}
      onClick=${() => {
        details.close()
        remote.open(model)
      }}>
      <span class="lib-tile" aria-hidden="true"><${Icon} name="globe" /></span>
      <span class="lib-row-text">
        <${MiddleName} class="lib-row-name" text=${remoteName(model)} />
        <span class="lib-row-facts">
          <span class="lib-row-kind">${[term('provider', model.provider), model.base_model].filter(Boolean).join(' · ')}</span>
          <${RemoteFacts} model=${model} />
        </span>
      </span>
      <span class="lib-row-marks">
        <span class="lib-row-marks-line">
          ${model.gated && html`<span class="lib-mark" role="img" aria-label=${t('remote.gated')} title=${t('remote.gated')}><${Icon} name="lock" /></span>`}
        </span>
        ${tier && html`<${TierBadge} tier=${tier} />`}
      </span>
    </button>
  </li>`
}

/** Nothing is sent before one says so. @param {{words: string, all: boolean}} props `all`: nothing stands above it */
function Offer({ words, all }) {
  const { remote } = usePanel()
  const { t } = useI18n()
  return html`<section class="lib-remote lib-remote-offer" aria-label=${t('remote.title')} data-room=${all ? 'all' : undefined}>
    <p class="lib-note lib-remote-offer-text">${t('remote.offer', { words })}</p>
    <div class="lib-remote-offer-actions">
      <${Button} icon="globe" onClick=${remote.searchOnline}>${t('remote.searchOnline')}<//>
      <${Button} kind="quiet" title=${t('remote.alwaysText')} onClick=${remote.alwaysOnline}>${t('remote.always')}<//>
    </div>
  </section>`
}

/** What the hosts have for the same words, below what one owns. */
export function RemoteSection() {
  const { remote, search } = usePanel()
  const { t, told, term, date } = useI18n()
  const { query, offered, models, loading, refreshing, offline, stale, fetchedAt, problems, error, fresh, open, folded } = useStore(remote)
  const { total, error: unlisted } = useStore(search)
  const list = useRef(/** @type {HTMLElement | null} */ (null))
  const lastOpen = useRef('')
  const key = open ? remoteKey(open.model) : ''
  useEffect(() => {
    // Back to the row from which one came, unless something else has the focus by now.
    const rows = /** @type {HTMLElement[]} */ ([...(list.current?.querySelectorAll('.lib-remote-row') ?? [])])
    if (!key && lastOpen.current && document.activeElement === document.body) rows.find((row) => row.dataset['remote'] === lastOpen.current)?.focus()
    lastOpen.current = key
  }, [key])
  if (offered) return unlisted ? null : html`<${Offer} words=${offered} all=${total === 0} />`
  if (!query || (!loading && !error && models.length === 0 && offline)) return null
  // Nobody answers: the list above has said so.
  if (error?.code === 'unreachable' && unlisted) return null

  const said = loading
    ? t('remote.searching')
    : refreshing
      ? t('remote.refreshing')
      : offline
        ? t('remote.cached', { date: date(fetchedAt) })
        : stale
          ? t('remote.stale', { date: date(fetchedAt) })
          : ''

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (move === undefined) return
    const rows = /** @type {HTMLElement[]} */ ([...(list.current?.querySelectorAll('.lib-remote-row') ?? [])])
    const at = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement))
    rows[Math.max(0, Math.min(rows.length - 1, at + move))]?.focus()
    event.preventDefault()
    event.stopPropagation()
  }

  return html`<section class="lib-remote" aria-labelledby="lib-remote-title" data-room=${total === 0 ? 'all' : total <= FEW ? 'much' : undefined}>
    <div class="lib-remote-head">
      <h3>
        <button type="button" class="lib-remote-fold" id="lib-remote-title" aria-expanded=${folded ? 'false' : 'true'} aria-controls="lib-remote-body" onClick=${remote.fold}>
          <${Icon} name=${folded ? 'right' : 'down'} /><span>${t('remote.title')}</span>
          ${models.length > 0 && html`<span class="lib-remote-count">${models.length}</span>`}
        </button>
      </h3>
      <span class="lib-remote-said" role="status" aria-live="polite">
        ${(loading || refreshing) && html`<span class="lib-spinner" aria-hidden="true"></span>`}<span>${said}</span>
      </span>
      ${fresh &&
      html`<button type="button" class="lib-update" onClick=${remote.update}><${Icon} name="refresh" />${t('search.newResults')}</button>`}
    </div>
    ${!folded &&
    html`<div class="lib-remote-body" id="lib-remote-body" ref=${list} onKeyDown=${onKeyDown}>
      ${loading && html`<${SkeletonRows} count=${2} />`}
      ${error && html`<${ErrorBox} compact what=${t('remote.failed')} error=${error} onRetry=${remote.retry} />`}
      ${!loading && !error && models.length === 0 && problems.length === 0 && html`<p class="lib-note lib-remote-note">${t('remote.nothing')}</p>`}
      <ul>
        ${models.map((model) => html`<${RemoteRow} key=${remoteKey(model)} model=${model} isOpen=${key === remoteKey(model)} />`)}
      </ul>
      ${!loading &&
      problems.map(
        (problem) =>
          html`<p class="lib-note lib-remote-note" key=${problem.provider}>
            <span>${t('remote.problem', { provider: term('provider', problem.provider), message: told(problem) })}</span>
            ${!offline && html`<${Button} kind="quiet" onClick=${remote.retry}>${t('error.retry')}<//>`}
          </p>`
      )}
    </div>`}
  </section>`
}
