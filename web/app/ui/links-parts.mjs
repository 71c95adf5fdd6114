import { html, useState } from '../../vendor/htm-preact.mjs'
import { baseName } from '../text.mjs'
import { useI18n } from './context.mjs'
import { Icon } from './icons.mjs'
import { Button, IconButton, MiddleName } from './parts.mjs'
import { sayProblem } from './jobs-sheet.mjs'

/** How many entries of a list are drawn at a time. */
export const STEP = 50

/** The top of a page of the links: back, its title, and perhaps more.
 * @param {{title: string, onBack: () => void, children?: any}} props */
export function PageHead({ title, onBack, children }) {
  const { t } = useI18n()
  return html`<div class="lib-place-head">
    <${IconButton} icon="back" label=${t('action.back')} onClick=${onBack} />
    <h2 class="lib-place-title" tabindex="-1" data-page-title>${title}</h2>
    ${children}
  </div>`
}

/** Where a link lies and where it leads. @param {{target: string, source?: string | undefined, note?: string | undefined}} props */
export function PathLine({ target, source, note }) {
  return html`<div class="lib-entry-text">
    <${MiddleName} text=${baseName(target)} title=${target} />
    <${MiddleName} class="lib-entry-note" text=${target} />
    ${source && html`<span class="lib-entry-note lib-arrow"><${Icon} name="right" /><${MiddleName} text=${source} /></span>`}
    ${note && html`<span class="lib-entry-note lib-bad">${note}</span>`}
  </div>`
}

/** A list that is drawn as far as it is asked for.
 * @param {{entries: any[], row: (entry: any) => any, class?: string}} props */
export function LongList({ entries, row, class: className = '' }) {
  const { t } = useI18n()
  const [shown, setShown] = useState(STEP)
  return html`<ul class=${`lib-entries ${className}`}>${entries.slice(0, shown).map(row)}</ul>
    ${entries.length > shown && html`<${Button} kind="quiet" onClick=${() => setShown(shown + STEP * 4)}>${t('links.showMore', { count: entries.length - shown })}<//>`}`
}

/** A part of a list that can be opened.
 * @param {{icon: string, title: string, open?: boolean, tone?: string, id: string, children: any}} props */
export function Part({ icon, title, open = false, tone = '', id, children }) {
  return html`<details class="lib-plan-part" open=${open} data-tone=${tone} data-part=${id}>
    <summary><${Icon} name="right" /><${Icon} name=${icon} /><span>${title}</span></summary>
    <div class="lib-part-body">${children}</div>
  </details>`
}

/** @param {{title: string, problems: any[], severity: string}} props */
export function Problems({ title, problems, severity }) {
  const { t } = useI18n()
  const [shown, setShown] = useState(20)
  if (problems.length === 0) return null
  return html`<div class="lib-callout" data-severity=${severity}><${Icon} name=${severity === 'error' ? 'error' : 'warn'} />
    <div><strong>${title}</strong><ul class="lib-plain-list">${problems.slice(0, shown).map((one) => html`<li>${sayProblem(one)}</li>`)}</ul>
      ${problems.length > shown && html`<${Button} kind="quiet" onClick=${() => setShown(shown + STEP * 4)}>${t('links.showMore', { count: problems.length - shown })}<//>`}
    </div>
  </div>`
}
