import { html } from '../../vendor/htm-preact.mjs'
import { trustOf } from '../trust.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { webAddress } from './details-sheet.mjs'
import { Button, ErrorBox, IconButton, SkeletonRows, TrustBadge } from './parts.mjs'

/** @import { Candidate, ModelRecord } from '../types.mjs' */

/** @param {{candidate: Candidate, record: ModelRecord}} props */
function CandidateEntry({ candidate, record }) {
  const { details } = usePanel()
  const { t, term } = useI18n()
  const { applying } = useStore(details)
  const page = webAddress(candidate.url) ?? (candidate.provider === 'huggingface' ? `https://huggingface.co/${candidate.repo_id}` : undefined)
  const applied = record.repo_id === candidate.repo_id && record.match_method === candidate.match_method
  const unsure = candidate.requires_confirmation || trustOf(candidate) === 'low' || candidate.hash_mismatch
  const file = candidate.filename ?? candidate.file_name
  return html`<li class="lib-candidate">
    <div class="lib-candidate-text">
      ${page
        ? html`<a href=${page} target="_blank" rel="noreferrer noopener">${candidate.repo_id}</a>`
        : html`<span>${candidate.repo_id}</span>`}
      <span class="lib-entry-note">${[term('provider', candidate.provider), file].filter(Boolean).join(' · ')}</span>
    </div>
    <div class="lib-candidate-side">
      <${TrustBadge} model=${candidate} />
      <${Button}
        kind=${unsure ? '' : 'primary'}
        busy=${applying === candidate.repo_id}
        disabled=${Boolean(applying) || applied}
        onClick=${() => details.apply(candidate)}
      >
        ${applied ? t('lookup.applied') : unsure ? t('lookup.applyAnyway') : t('lookup.apply')}
      <//>
    </div>
    ${unsure && html`<p class="lib-note">${t(candidate.hash_mismatch ? 'lookup.otherBytes' : 'lookup.lookFirst')}</p>`}
  </li>`
}

/** What Hugging Face knows about the file; applied only when the person says so. @param {{record: ModelRecord}} props */
export function LookupSection({ record }) {
  const { details } = usePanel()
  const { t } = useI18n()
  const { lookup, lookingUp, lookupError } = useStore(details)
  if (!lookup && !lookingUp && !lookupError) return null
  return html`<section class="lib-section lib-lookup" aria-live="polite">
    <header>
      <h3>${t('lookup.title')}</h3>
      ${!lookingUp && html`<${IconButton} icon="close" label=${t('action.close')} onClick=${details.dropLookup} />`}
    </header>
    ${lookingUp && html`<${SkeletonRows} count=${2} />`}
    ${lookupError && html`<${ErrorBox} compact what=${t('lookup.failed')} error=${lookupError} onRetry=${details.lookUp} />`}
    ${lookup &&
    !lookingUp &&
    html`
      ${(lookup.offline || lookup.stale) && lookup.candidates.length > 0 && html`<p class="lib-note">${t(lookup.offline ? 'lookup.offline' : 'lookup.stale')}</p>`}
      ${lookup.candidates.length === 0
        ? html`<p class="lib-note"><${TrustBadge} model=${{ match_method: 'none' }} /> ${t(lookup.offline ? 'lookup.offlineNothing' : 'lookup.nothing')}</p>`
        : html`<ul class="lib-candidates">
            ${lookup.candidates.map(
              (candidate) => html`<${CandidateEntry} key=${`${candidate.provider}/${candidate.repo_id}`} candidate=${candidate} record=${record} />`
            )}
          </ul>`}
    `}
  </section>`
}
