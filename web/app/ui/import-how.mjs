import { html } from '../../vendor/htm-preact.mjs'
import { MODES, blockedBy, chosenOf, filesOf, isPickle, isUploaded, mayDeleteOriginals, possibleModes, sizeOf } from '../stores/drafts.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { Warnings } from './import-draft.mjs'
import { Button, ErrorBox, IconButton, MiddleName } from './parts.mjs'

/** @import { Draft } from '../stores/drafts.mjs' */

/** Warnings that concern only some ways; `trash` is to delete what was copied. @type {Record<string, string[]>} */
const CONCERNS = {
  cross_filesystem: ['move', 'adopt'], not_removable: ['move', 'adopt'], other_names: ['move', 'adopt', 'trash'], insufficient_space: ['auto', 'copy', 'reflink']
}

/** @param {{drafts: Draft[]}} props those that lie on the server */
function Modes({ drafts }) {
  const { imports } = usePanel()
  const { t, bytes } = useI18n()
  const { options } = useStore(imports)
  const possible = possibleModes(drafts)
  const numbers = { count: filesOf(drafts), size: bytes(sizeOf(drafts)) }
  return html`<fieldset class="lib-modes">
    <legend>${t('import.mode')}</legend>
    ${[...possible, ...MODES.filter((mode) => !possible.includes(mode))].map((mode) => {
      const able = possible.includes(mode)
      return html`<label key=${mode} class=${`lib-mode ${options.mode === mode ? 'is-on' : ''} ${able ? '' : 'is-off'}`}>
        <input type="radio" name="lib-import-mode" value=${mode} checked=${options.mode === mode} disabled=${!able} onChange=${() => imports.setOptions({ mode })} />
        <span><strong>${t(`import.modes.${mode}`)}</strong>
          <small>${able ? t(`import.modeText.${mode}`) : t('import.modeNot')}</small>
          ${options.mode === mode && html`<small class="lib-mode-numbers" role="status">${t(`import.modeNumbers.${mode}`, numbers)}</small>`}
        </span>
      </label>`
    })}
  </fieldset>`
}

/** The yes that a pickle needs: for each, and for all whose names are there to read. @param {{pickles: Draft[]}} props */
function Pickles({ pickles }) {
  const { imports } = usePanel()
  const { t } = useI18n()
  const open = pickles.filter((draft) => !draft.acknowledged).length
  return html`<section class=${`lib-acknowledge-all ${open ? 'is-open' : ''}`} aria-label=${t('import.pickle', { count: pickles.length })}>
    <p><${Icon} name="warn" /><span><strong>${t('import.pickle', { count: pickles.length })}</strong> ${t('import.pickleText')}</span></p>
    ${pickles.length > 1 &&
    html`<label class="lib-choice">
      <input type="checkbox" data-acknowledge-all checked=${open === 0} onChange=${(/** @type {any} */ event) => imports.acknowledgeAll(event.target.checked)} />
      <span>${t('import.trustAll', { count: pickles.length })}</span>
    </label>`}
    <ul>
      ${pickles.map(
        (draft) => html`<li key=${draft.key}><label class="lib-choice">
          <input type="checkbox" data-acknowledge checked=${draft.acknowledged} onChange=${(/** @type {any} */ event) => imports.acknowledge(draft.key, event.target.checked)} />
          <span class="lib-entry-text">${pickles.length === 1 && html`<span>${t('import.trustOne')}</span>`}<${MiddleName} text=${draft.group.name} /></span>
        </label></li>`
      )}
    </ul>
  </section>`
}

/** How they come in, and what will happen. */
export function How() {
  const { imports } = usePanel()
  const { t, bytes } = useI18n()
  const { drafts, warnings, options, starting, startError } = useStore(imports)
  const chosen = chosenOf(drafts)
  const here = chosen.filter((draft) => !isUploaded(draft))
  const uploaded = chosen.filter(isUploaded)
  const pickles = chosen.filter(isPickle)
  const blocked = blockedBy(drafts)
  const size = sizeOf(chosen)
  const mayDelete = mayDeleteOriginals(chosen, options.mode)
  const ways = [options.mode, ...(mayDelete && options.deleteOriginals ? ['trash'] : [])]
  return html`
    <div class="lib-place-body">
      <div class="lib-place-head">
        <${IconButton} icon="back" label=${t('action.back')} onClick=${imports.back} />
        <h2 class="lib-place-title" tabindex="-1" data-step-title>${t('import.how', { count: chosen.length })}</h2>
      </div>
      ${pickles.length > 0 && html`<${Pickles} pickles=${pickles} />`}
      ${here.length > 0 && html`<${Modes} drafts=${here} />`}
      <${Warnings} warnings=${warnings.filter(({ code }) => CONCERNS[code]?.some((way) => ways.includes(way)) ?? true)} />
      ${uploaded.length > 0 && html`<p class="lib-callout" data-severity="info"><${Icon} name="info" /><span>${t('import.uploaded', { count: filesOf(uploaded), size: bytes(sizeOf(uploaded)) })}</span></p>`}
      ${mayDelete &&
      html`<label class="lib-switch">
        <input type="checkbox" role="switch" checked=${options.deleteOriginals} onChange=${(/** @type {any} */ event) => imports.setOptions({ deleteOriginals: event.target.checked })} />
        <span class="lib-switch-text">${t('import.deleteOriginals')}<small>${t('import.deleteOriginalsText', { count: filesOf(here) })}</small></span>
      </label>`}
      <label class="lib-switch">
        <input type="checkbox" role="switch" checked=${options.link} onChange=${(/** @type {any} */ event) => imports.setOptions({ link: event.target.checked })} />
        <span class="lib-switch-text">${t('import.link')}<small>${t('import.linkText')}</small></span>
      </label>
    </div>
    <footer class="lib-place-foot">
      ${startError && html`<${ErrorBox} compact what=${t('import.startFailed')} error=${startError} onRetry=${imports.start} />`}
      ${blocked === 'pickle' && html`<p class="lib-callout" data-severity="warn" role="status"><${Icon} name="warn" /><span>${t('import.blockedPickle')}</span></p>`}
      <${Button} kind="primary" icon="tray" busy=${starting} disabled=${blocked !== null} onClick=${imports.start} data-import-start="true">
        ${t('import.start', { count: chosen.length })}${size ? ` · ${bytes(size)}` : ''}
      <//>
    </footer>
  `
}
