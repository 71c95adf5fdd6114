import { html, useState } from '../../vendor/htm-preact.mjs'
import { baseName } from '../text.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { DeleteDialog } from './delete-dialog.mjs'
import { EditableField } from './editable.mjs'
import { Film } from './film.mjs'
import { addToGraph, canAdd } from './graph.mjs'
import { Icon } from './icons.mjs'
import { LookupSection, TrustReason } from './lookup-section.mjs'
import { lineage, nameOf } from './model-list.mjs'
import { Button, CopyButton, ErrorBox, errorWords, IconButton, MiddleName, Sheet, SkeletonRows, TierBadge, Tile, TrustBadge, WholeName } from './parts.mjs'
import { PickleNote } from './pickle-note.mjs'

/** @import { ModelFile, ModelRecord } from '../types.mjs' */

/** ComfyUI's folder names; what the server adds to them shows up as the model's own. */
export const SUBTYPES = [
  'checkpoints', 'diffusion_models', 'loras', 'vae', 'text_encoders', 'clip_vision', 'controlnet',
  'upscale_models', 'embeddings', 'style_models', 'hypernetworks', 'photomaker', 'vae_approx', 'audio_encoders', 'unknown'
]
export const TYPES = ['diffusion', 'llm', 'vision', 'audio', 'upscaling', 'unknown']

/** Where the page comes from when the server runs on this very machine. */
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/** Facts that have a place of their own; the others are listed at the end. */
const SHOWN = new Set([
  'model_id', 'official_name', 'file_name', 'model_type', 'subtype', 'family', 'base_model', 'variant', 'precision',
  'tags', 'trained_words', 'description', 'notes', 'files', 'links', 'size_bytes', 'security_tier', 'storage',
  'match_source', 'match_method', 'match_confidence', 'hash_mismatch', 'pending_online_lookup', 'repo_id',
  'download_url', 'preview_url', 'preview_is_video', 'preview_image', 'can_show', 'added_date', 'updated_date', 'model_format', 'problem', 'problem_said', 'linked',
  'hashes', 'schema', 'pickle_acknowledged', 'pickle_scan', 'cleaned_name', 'approx_weight_size_gb'
])

/** Only web addresses become links: what a publisher wrote is text. @param {string | undefined} address */
export const webAddress = (address) => (/^https?:\/\//i.test(address ?? '') ? address : undefined)

/** @param {{label: string, children: any}} props */
function Fact({ label, children }) {
  return html`<div class="lib-fact"><dt>${label}</dt><dd>${children}</dd></div>`
}

/** @param {{title: string, aside?: any, children: any}} props */
export function Section({ title, aside, children }) {
  return html`<section class="lib-section">
    <header><h3>${title}</h3>${aside}</header>
    ${children}
  </section>`
}

/** @param {{file: ModelFile}} props */
function FileEntry({ file }) {
  const { t, bytes } = useI18n()
  return html`<li class="lib-entry">
    <${Icon} name="file" />
    <div class="lib-entry-text">
      <${MiddleName} text=${baseName(file.original_name || file.name)} title=${file.path ?? file.name} />
      <span class="lib-entry-note">
        ${bytes(file.size)}${file.exists === false && html` · <span class="lib-bad">${t('files.missing')}</span>`}
      </span>
      ${file.path && html`<span class="lib-entry-path"><${MiddleName} text=${file.path} /><${CopyButton} value=${file.path} label=${t('files.copyPath')} /></span>`}
      ${['sha256', 'blake3'].map((kind) => {
        const hash = /** @type {any} */ (file)[kind]
        return hash && html`<span class="lib-entry-path" key=${kind}><span class="lib-hash">${kind === 'sha256' ? 'SHA-256' : 'BLAKE3'}</span><code><${MiddleName} text=${hash} /></code><${CopyButton} value=${hash} label=${t('files.copyHash')} /></span>`
      })}
    </div>
  </li>`
}

/** @param {{record: ModelRecord}} props */
function Links({ record }) {
  const { t, term } = useI18n()
  const links = record.links ?? []
  return html`<${Section} title=${t('details.links', { count: links.length })}>
    ${links.length === 0 && html`<p class="lib-note">${t('details.noLinks')}</p>`}
    <ul class="lib-entries">
      ${links.map(
        (link) =>
          html`<li class="lib-entry" key=${link.link_id}>
            <${Icon} name=${link.state && link.state !== 'ok' ? 'unlink' : 'link'} />
            <div class="lib-entry-text">
              <span class="lib-entry-path"><${MiddleName} text=${link.target} /><${CopyButton} value=${link.target} label=${t('files.copyPath')} /></span>
              <span class="lib-entry-note">
                ${[link.app, term('linkType', link.link_type)].filter(Boolean).join(' · ')}
                ${link.is_external && ` · ${t('links.external')}`}
              </span>
            </div>
            <span class="lib-badge" data-link=${link.state ?? 'ok'}>${term('linkState', link.state ?? 'ok')}</span>
          </li>`
      )}
    </ul>
  <//>`
}

/** @param {{record: ModelRecord}} props */
function Facts({ record }) {
  const { search } = usePanel()
  const i18n = useI18n()
  const { t, term, bytes, date } = i18n
  const { facets } = useStore(search)
  const choices = (/** @type {string[]} */ values, /** @type {string} */ group) =>
    values.map((value) => ({ value, label: term(group, value) }))
  const words = (/** @type {string} */ name) => (facets?.[name] ?? []).map(({ value }) => value).filter(Boolean)

  return html`
    <${Section} title=${t('details.what')}>
      <dl class="lib-facts">
        <${Fact} label=${t('field.official_name')}>
          <${EditableField} field="official_name" label=${t('field.official_name')} value=${record.official_name}
            show=${html`<${WholeName} text=${record.official_name ?? ''} />`} />
        <//>
        <${Fact} label=${t('field.subtype')}>
          <${EditableField} field="subtype" kind="choice" label=${t('field.subtype')} value=${record.subtype}
            show=${term('subtype', record.subtype)} options=${choices(SUBTYPES, 'subtype')} />
        <//>
        <${Fact} label=${t('field.model_type')}>
          <${EditableField} field="model_type" kind="choice" label=${t('field.model_type')} value=${record.model_type}
            show=${term('type', record.model_type)} options=${choices(TYPES, 'type')} />
        <//>
        ${/** @type {const} */ (['family', 'base_model', 'variant', 'precision']).map(
          (field) =>
            html`<${Fact} key=${field} label=${t(`field.${field}`)}>
              <${EditableField} field=${field} label=${t(`field.${field}`)} value=${record[field] === 'unknown' ? '' : record[field]} suggestions=${words(field)} />
            <//>`
        )}
        <${Fact} label=${t('field.tags')}>
          <${EditableField} field="tags" kind="lines" label=${t('field.tags')} value=${record.tags ?? []}
            show=${html`<span class="lib-tags">${(record.tags ?? []).map((tag) => html`<span class="lib-tag" key=${tag}>${tag}</span>`)}</span>`} />
        <//>
      </dl>
    <//>

    <${Section} title=${t('field.trained_words')}
      aside=${(record.trained_words ?? []).length > 0 && html`<${CopyButton} value=${(record.trained_words ?? []).join(', ')} label=${t('words.copyAll')} />`}>
      ${(record.trained_words ?? []).length > 0 &&
      html`<div class="lib-words">${(record.trained_words ?? []).map((word) => html`<${TrainedWord} key=${word} word=${word} />`)}</div>`}
      <${EditableField} field="trained_words" kind="lines" label=${t('field.trained_words')} value=${record.trained_words ?? []}
        show=${t('words.edit')} quiet />
    <//>

    <${Section} title=${t('field.description')}>
      <${EditableField} field="description" kind="long" label=${t('field.description')} value=${record.description} />
    <//>
    <${Section} title=${t('field.notes')}>
      <${EditableField} field="notes" kind="long" label=${t('field.notes')} value=${record.notes} />
    <//>

    <${Section} title=${t('details.facts')}>
      <dl class="lib-facts">
        <${Fact} label=${t('field.size_bytes')}>
          <span title=${t('details.bytesExactly', { count: record.size_bytes ?? 0 })}>${bytes(record.size_bytes)}</span>
        <//>
        <${Fact} label=${t('field.model_format')}>${term('format', record.model_format) || '–'}<//>
        <${Fact} label=${t('field.storage')}>${term('storage', record.storage) || '–'}<//>
        <${Fact} label=${t('field.security_tier')}><${TierBadge} tier=${record.security_tier} pickle=${record.pickle_scan?.state} /><//>
        <${Fact} label=${t('field.match_method')}>
          <${TrustBadge} model=${record} />
          ${record.match_source === 'manual' && html`<span class="lib-fact-aside">${t('details.manual')}</span>`}
          <${TrustReason} record=${record} />
        <//>
        ${record.repo_id &&
        html`<${Fact} label=${t('field.repo_id')}>
          ${/^[\w.-]+\/[\w.-]+$/.test(record.repo_id)
            ? html`<a href=${`https://huggingface.co/${record.repo_id}`} target="_blank" rel="noreferrer noopener">${record.repo_id}</a>`
            : record.repo_id}
        <//>`}
        ${record.download_url &&
        html`<${Fact} label=${t('field.download_url')}>
          ${webAddress(record.download_url)
            ? html`<a href=${record.download_url} target="_blank" rel="noreferrer noopener"><${MiddleName} text=${record.download_url} /></a>`
            : record.download_url}
        <//>`}
        <${Fact} label=${t('field.added_date')}>${date(record.added_date)}<//>
        <${Fact} label=${t('field.updated_date')}>${date(record.updated_date)}<//>
      </dl>
    <//>
  `
}

/** @param {{word: string}} props */
function TrainedWord({ word }) {
  const { t } = useI18n()
  return html`<span class="lib-word"><span>${word}</span><${CopyButton} value=${word} label=${t('words.copy', { word })} class="is-small" /></span>`
}

/** Whatever else the record holds. @param {{record: ModelRecord}} props */
function OtherFacts({ record }) {
  const { t } = useI18n()
  const others = Object.entries(record).filter(
    ([key, value]) => !SHOWN.has(key) && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0)
  )
  if (others.length === 0) return null
  return html`<details class="lib-more">
    <summary><${Icon} name="right" />${t('details.others', { count: others.length })}</summary>
    <dl class="lib-facts">
      ${others.map(
        ([key, value]) =>
          html`<${Fact} key=${key} label=${key}>
            ${typeof value === 'object' ? html`<pre>${JSON.stringify(value, null, 2)}</pre>` : String(value)}
          <//>`
      )}
    </dl>
  </details>`
}

/** Everything about one model. */
export function DetailsSheet() {
  const panel = usePanel()
  const { details } = panel
  const i18n = useI18n()
  const { t, told, bytes, term } = i18n
  const { record, row, modelId, error, loading, lookingUp } = useStore(details)
  const showFolder = () =>
    details.showFolder().catch((reason) => {
      const { title, detail } = errorWords(reason, i18n)
      panel.toast('error', title, detail)
    })
  const [deleting, setDeleting] = useState(false)
  // What the list knows stands here at once; the record follows.
  const known = record ?? row
  const linked = record ? (record.links ?? []).length > 0 : row?.linked

  return html`<${Sheet} class="lib-details" title=${known ? nameOf(known) : (modelId ?? '')} onClose=${details.close}>
    ${known &&
    html`<div class="lib-identity">
      <${Tile} model=${known} class="is-large" still />
      <div class="lib-identity-text">
        <p class="lib-identity-facts">
          ${[term('subtype', known.subtype), lineage(known), bytes(known.size_bytes)].filter(Boolean).join(' · ')}
        </p>
        <p class="lib-identity-badges">
          <${TrustBadge} model=${known} /><${TierBadge} tier=${known.security_tier} pickle=${record ? record.pickle_scan?.state : row?.pickle_state} />
          ${linked && html`<span class="lib-badge"><${Icon} name="link" />${t('model.linked')}</span>`}
        </p>
        <p class="lib-identity-id">
          <code><${MiddleName} text=${known.model_id} /></code>
          <${CopyButton} value=${known.model_id} label=${t('details.copyId')} />
        </p>
      </div>
    </div>`}
    ${known?.preview_url && known.preview_is_video && html`<${Film} key=${known.preview_url} src=${known.preview_url} />`}
    ${known?.problem && html`<p class="lib-callout" data-severity="warn"><${Icon} name="warn" /><span>${told({ message: known.problem, said: known.problem_said })}</span></p>`}
    ${known &&
    html`<div class="lib-actions">
      ${canAdd(panel, known) &&
      html`<${Button} kind="primary" icon="plus" onClick=${() => addToGraph(panel, known)}>${t('graph.add')}<//>`}
      <${Button} icon="globe" disabled=${!record} busy=${lookingUp} onClick=${details.lookUp}>${t('lookup.ask')}<//>
      <${IconButton} icon="trash" label=${t('delete.ask')} disabled=${!record} onClick=${() => setDeleting(true)} />
    </div>`}
    ${error && html`<${ErrorBox} what=${t('details.failed')} error=${error} onRetry=${details.retry} />`}
    ${loading && !record && !error && html`<${SkeletonRows} count=${5} />`}
    ${record &&
    html`
      <${PickleNote} record=${record} />
      <${LookupSection} record=${record} />
      <${Facts} record=${record} />
      <${Section} title=${t('details.files', { count: (record.files ?? []).length })}
        aside=${record.can_show && LOOPBACK.has(location.hostname) && html`<${IconButton} icon="folder" label=${t('files.show')} onClick=${showFolder} />`}>
        <ul class="lib-entries">${(record.files ?? []).map((file) => html`<${FileEntry} key=${file.path ?? file.name} file=${file} />`)}</ul>
      <//>
      <${Links} record=${record} />
      <${OtherFacts} record=${record} />
    `}
    ${deleting && record && html`<${DeleteDialog} record=${record} onClose=${() => setDeleting(false)} />`}
  <//>`
}
