import { html } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'

/** @import { ModelRecord, PickleFound } from '../types.mjs' */

const SHOWN = 20

/** The names in a pickle, the worst first; what every model file holds is only counted. @param {{found: PickleFound[]}} props */
function Names({ found }) {
  const { t, term } = useI18n()
  const told = found.filter(({ severity }) => severity !== 'harmless')
  const harmless = found.length - told.length
  return html`<ul class="lib-pickle-names">
    ${told.slice(0, SHOWN).map(
      ({ module, name, severity }) =>
        html`<li key=${`${module} ${name}`}>
          <code>${module}.${name}</code>
          <span class="lib-badge" data-tier=${severity === 'dangerous' ? 'dangerous' : 'pickle'}>${term('pickle.severity', severity)}</span>
        </li>`
    )}
    ${told.length > SHOWN && html`<li>${t('pickle.more', { count: told.length - SHOWN })}</li>`}
    ${harmless > 0 && html`<li class="lib-note">${t('pickle.harmless', { count: harmless })}</li>`}
  </ul>`
}

/**
 * What was found in a pickle, and the box with which a person vouches for it: the nodes load it only then.
 * @param {{record: ModelRecord}} props
 */
export function PickleNote({ record }) {
  const { details } = usePanel()
  const { t } = useI18n()
  const { saving } = useStore(details)
  if (record.security_tier !== 'pickle') return null
  const trusted = Boolean(record['pickle_acknowledged'])
  const scan = record.pickle_scan
  const state = scan?.state ?? 'not_scanned'
  const severity = /** @type {Record<string, string>} */ ({ dangerous: 'error', error: 'warn', suspicious: 'warn', clean: 'success' })[state] ?? 'info'
  return html`<section class="lib-pickle" data-state=${state}>
    <div class="lib-callout" data-severity=${severity} role=${state === 'dangerous' ? 'alert' : undefined}>
      <${Icon} name=${severity === 'success' ? 'check' : 'warn'} />
      <div>
        ${t(`pickle.state.${state}`)} ${state === 'error' && scan?.message}
        ${scan && scan.globals.length > 0 && html`<${Names} found=${scan.globals} />`}
      </div>
    </div>
    <label class=${`lib-acknowledge ${trusted ? '' : 'is-open'}`}>
      <input type="checkbox" checked=${trusted} disabled=${saving === 'pickle_acknowledged'}
        onChange=${(/** @type {any} */ event) => details.save('pickle_acknowledged', event.target.checked)} />
      <span><strong>${t('pickle.trust')}</strong> ${t(state === 'dangerous' ? 'pickle.whyNot' : 'pickle.why')}</span>
    </label>
  </section>`
}
