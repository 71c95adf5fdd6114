import { html } from '../../vendor/htm-preact.mjs'
import { baseName } from '../text.mjs'
import { trustOf } from '../trust.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { webAddress } from './details-sheet.mjs'
import { Button, ErrorBox, IconButton, SkeletonRows, TrustBadge } from './parts.mjs'
import { RelatedFiles } from './related-files.mjs'

/** @import { Candidate, ModelRecord } from '../types.mjs' */

/** @param {{candidate: Candidate, record: ModelRecord, first: boolean}} props */
function CandidateEntry({ candidate, record, first }) {
  const { details } = usePanel()
  const { t, term, percent } = useI18n()
  const { applying } = useStore(details)
  const page = webAddress(candidate.page_url ?? candidate.url) ?? (candidate.provider === 'huggingface' ? `https://huggingface.co/${candidate.repo_id}` : undefined)
  const applied = record.repo_id === candidate.repo_id && record.match_method === candidate.match_method
  const unsure = candidate.requires_confirmation || trustOf(candidate) === 'low' || candidate.hash_mismatch
  const file = candidate.filename ?? candidate.file_name
  const name = candidate.provider === 'civitai' ? candidate.official_name || candidate.repo_id : candidate.repo_id
  return html`<li class="lib-candidate">
    <div class="lib-candidate-text">
      ${page
        ? html`<a href=${page} target="_blank" rel="noreferrer noopener">${name}</a>`
        : html`<span>${name}</span>`}
      <span class="lib-entry-note">${[term('provider', candidate.provider), file, candidate.base_model].filter(Boolean).join(' · ')}</span>
    </div>
    <div class="lib-candidate-side">
      <span class="lib-candidate-trust">
        <${TrustBadge} model=${candidate} />
        ${typeof candidate.match_confidence === 'number' && html`<span class="lib-entry-note">${t('lookup.confidence', { share: percent(candidate.match_confidence) })}</span>`}
      </span>
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
    <${RelatedFiles} candidate=${candidate} own=${ownFiles(record)} first=${first && !unsure} />
  </li>`
}

/** The files that are there, by the names that they were published with. @param {ModelRecord} record */
const ownFiles = (record) =>
  (record.files ?? []).flatMap(({ original_name, name, path, exists }) => (exists === false ? [] : [{ name: baseName(original_name || name), path }]))

/** Why a badge says what it says. @param {{record: ModelRecord}} props */
export function TrustReason({ record }) {
  const { t, percent } = useI18n()
  const confidence = typeof record.match_confidence === 'number' ? percent(record.match_confidence) : '–'
  return html`<p class="lib-trust-reason">${t(`trust.why.${trustOf(record)}`, { confidence })}</p>`
}

/** What Hugging Face and Civitai know about the file; applied only when the person says so. @param {{record: ModelRecord}} props */
export function LookupSection({ record }) {
  const { details } = usePanel()
  const { t, told, term } = useI18n()
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
        ? html`<p class="lib-note">${!lookup.offline && html`<${TrustBadge} model=${{ match_method: 'none' }} />`} ${t(lookup.offline ? 'lookup.offlineNothing' : (lookup.problems ?? []).length > 0 ? 'lookup.partly' : 'lookup.nothing')}</p>`
        : html`<ul class="lib-candidates">
            ${lookup.candidates.map(
              (candidate, at) => html`<${CandidateEntry} first=${at === 0} key=${`${candidate.provider}/${candidate.repo_id}/${candidate.file_name ?? ''}`} candidate=${candidate} record=${record} />`
            )}
          </ul>`}
      ${(lookup.problems ?? []).map((problem) => html`<p class="lib-note" key=${problem.provider}>${t('remote.problem', { provider: term('provider', problem.provider), message: told(problem) })}</p>`)}
    `}
  </section>`
}
