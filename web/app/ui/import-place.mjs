import { html, useLayoutEffect, useRef } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { FolderBrowser } from './folder-browser.mjs'
import { Choose } from './import-choose.mjs'
import { Describe } from './import-describe.mjs'
import { How } from './import-how.mjs'
import { Run } from './import-run.mjs'

const STEPS = /** @type {const} */ (['choose', 'describe', 'how', 'run'])

/** Where in the wizard one is. @param {{step: typeof STEPS[number]}} props */
function Steps({ step }) {
  const { t } = useI18n()
  const at = STEPS.indexOf(step)
  return html`<ol class="lib-steps" aria-label=${t('import.steps.label')}>
    ${STEPS.map(
      (name, number) => html`<li key=${name} class=${number < at ? 'is-done' : ''} aria-current=${number === at ? 'step' : undefined}>
        <span>${t(`import.steps.${name}`)}</span>
      </li>`
    )}
  </ol>`
}

/** Bring models into the library: choose, describe, say how, watch. */
export function ImportPlace() {
  const { imports, folders } = usePanel()
  const { t } = useI18n()
  const { step, shown } = useStore(imports)
  const { open } = useStore(folders)
  const column = useRef(/** @type {HTMLElement | null} */ (null))
  const page = open && step === 'choose' ? 'folders' : `${step}${step === 'run' ? shown : ''}`
  const before = useRef(page)

  useLayoutEffect(() => {
    if (before.current === page) return
    before.current = page
    // A new step begins at its title: for the eye at the top, for the keyboard with the focus there.
    const title = /** @type {HTMLElement | null} */ (column.current?.querySelector('[data-step-title]'))
    title?.focus({ preventScroll: true })
  }, [page])

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== 'Escape' || (step === 'choose' && !open)) return
    event.stopPropagation()
    event.preventDefault()
    if (step === 'choose') folders.close()
    else imports.back()
  }

  return html`<section class="lib-column lib-import" aria-label=${t('places.import')} ref=${column} onKeyDown=${onKeyDown}>
    <${Steps} step=${step} />
    ${page === 'folders'
      ? html`<${FolderBrowser} />`
      : step === 'choose'
        ? html`<${Choose} />`
        : step === 'describe'
          ? html`<${Describe} />`
          : step === 'how'
            ? html`<${How} />`
            : html`<${Run} key=${shown} />`}
  </section>`
}
