import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { relatedTo } from '../remote-files.mjs'
import { matchKey } from '../stores/related.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { DownloadEntry } from './downloads-list.mjs'
import { Icon } from './icons.mjs'
import { Button, ErrorBox, MiddleName, SkeletonRows } from './parts.mjs'

/** @import { OwnFile, RelatedGroup } from '../remote-files.mjs' */
/** @import { Candidate, DownloadRequest } from '../types.mjs' */

/** @param {{candidate: Candidate, group: RelatedGroup, own: OwnFile[]}} props */
function Entry({ candidate, group, own }) {
  const { related, downloads } = usePanel()
  const { t, bytes } = useI18n()
  const { started, starting, refused } = useStore(related)
  const { downloads: all } = useStore(downloads)
  const key = `${matchKey(candidate)}/${group.key}`
  const download = all.find(({ id }) => id === started[key])
  useEffect(() => (started[key] ? downloads.watch() : undefined), [started[key]])
  if (download) return html`<li><ul class="lib-job-list"><${DownloadEntry} download=${download} /></ul></li>`

  const take = () => {
    const { provider, repo_id, revision } = candidate
    /** @type {DownloadRequest} */
    const request = { provider, repo_id, files: group.paths, link: true }
    if (revision && revision !== 'main') request.revision = revision
    if (group.pickle) request.acknowledge_pickle = true
    if (group.withOwn) {
      request.here = own.flatMap(({ path, upload }) => (path && !upload ? [path] : []))
      request.uploads = own.flatMap(({ upload }) => (upload ? [upload] : []))
    }
    return related.take(key, request)
  }
  return html`<li class="lib-download-file">
    <${MiddleName} text=${group.name} />
    <span class="lib-entry-note">${[group.missing > 0 && t('lookup.missingParts', { count: group.missing }), group.size !== null && bytes(group.size)].filter(Boolean).join(' · ')}</span>
    <${Button} kind="quiet" icon=${group.pickle ? 'warn' : 'tray'} busy=${Boolean(starting[key])} onClick=${take}>
      ${t(group.pickle ? 'downloads.anyway' : group.missing > 0 ? 'lookup.takeMissing' : 'downloads.take')}
    <//>
    ${refused[key] && html`<${ErrorBox} compact what=${t('downloads.startFailed')} error=${refused[key]} onRetry=${take} />`}
  </li>`
}

/** What the repository of a match has besides: the missing parts of a set, a VAE, a config.
 * @param {{candidate: Candidate, own: OwnFile[], first: boolean}} props `own` are the files that are here already; of the
 *   `first` match it is looked up at once */
export function RelatedFiles({ candidate, own, first }) {
  const { related } = usePanel()
  const { t } = useI18n()
  const { listings } = useStore(related)
  const [open, setOpen] = useState(first)
  useEffect(() => {
    if (open) void related.load(candidate)
  }, [open, matchKey(candidate)])
  const listing = listings[matchKey(candidate)]
  const groups = listing?.files ? relatedTo(listing.files, candidate.file_name ?? '', own) : []
  if (!candidate.file_name || (first && listing?.files && groups.length === 0)) return null
  return html`<details class="lib-more lib-related" open=${open} onToggle=${(/** @type {any} */ event) => setOpen(event.target.open)}>
    <summary><${Icon} name="right" />${t('lookup.related')}</summary>
    ${open && listing?.loading && html`<${SkeletonRows} count=${1} />`}
    ${open && listing?.error && html`<${ErrorBox} compact what=${t('lookup.relatedFailed')} error=${listing.error} onRetry=${() => related.load(candidate)} />`}
    ${open && listing?.files && groups.length === 0 && html`<p class="lib-note">${t('lookup.relatedNone')}</p>`}
    ${open && groups.length > 0 && html`<ul class="lib-plain-list">${groups.map((group) => html`<${Entry} key=${group.key} candidate=${candidate} group=${group} own=${own} />`)}</ul>`}
  </details>`
}
