import { html, useEffect, useLayoutEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { splitMiddle } from '../text.mjs'
import { trustOf } from '../trust.mjs'
import { useI18n, usePanel } from './context.mjs'
import { HoverFilm } from './film.mjs'
import { Icon, iconOf } from './icons.mjs'

/** @import { ApiError } from '../api.mjs' */
/** @import { I18n } from '../i18n.mjs' */
/** @import { ModelRow, Progress as ProgressRecord } from '../types.mjs' */

/** @typedef {any} Children */

/** @param {{icon: string, label: string, onClick: (event: MouseEvent) => void, class?: string, [more: string]: any}} props */
export function IconButton({ icon, label, onClick, class: className = '', ...more }) {
  return html`<button
    type="button"
    class=${`lib-icon-button ${className}`}
    aria-label=${label}
    title=${label}
    onClick=${onClick}
    ...${more}
  >
    <${Icon} name=${icon} />
  </button>`
}

/** @param {{kind?: 'primary' | 'quiet' | 'danger' | '', icon?: string, busy?: boolean, disabled?: boolean,
 *   onClick?: (event: MouseEvent) => void, children?: Children, [more: string]: any}} props */
export function Button({ kind = '', icon, busy = false, disabled = false, onClick, children, ...more }) {
  return html`<button
    type="button"
    class=${`lib-button ${kind ? `lib-button-${kind}` : ''}`}
    disabled=${disabled || busy}
    aria-busy=${busy ? 'true' : undefined}
    onClick=${onClick}
    ...${more}
  >
    ${busy ? html`<span class="lib-spinner" aria-hidden="true"></span>` : icon && html`<${Icon} name=${icon} />`}
    <span class="lib-button-text">${children}</span>
  </button>`
}

/** A name that gives way in its middle, so that the version at its end stays in sight.
 * @param {{text: string, class?: string, title?: string}} props */
export function MiddleName({ text, class: className = '', title }) {
  const { head, tail } = splitMiddle(text)
  return html`<span class=${`lib-middle ${className}`} dir="auto" title=${title ?? text}
    ><span class="lib-middle-head">${head}</span>${tail && html`<span class="lib-middle-tail">${tail}</span>`}</span
  >`
}

/** A name that may take several lines: it breaks between its words. @param {{text: string}} props */
export function WholeName({ text }) {
  return html`<bdi>${text.split(/(?<=[_/-])(?=[^_/-])/).flatMap((part, at) => (at ? [html`<wbr />`, part] : [part]))}</bdi>`
}

/** The square before a model: its preview, else its kind.
 * @param {{model: ModelRow, class?: string, still?: boolean}} props `still` shows no film */
export function Tile({ model, class: className = '', still = false }) {
  const { host } = usePanel()
  const [failed, setFailed] = useState('')
  const preview = model.preview_url
  const icon = html`<${Icon} name=${iconOf(model.subtype)} />`
  const shown = preview && failed !== preview && !(model.preview_is_video && still)
  return html`<span class=${`lib-tile ${className}`} data-subtype=${model.subtype ?? ''} aria-hidden="true">
    ${!shown
      ? icon
      : model.preview_is_video
        ? html`<${HoverFilm} key=${preview} src=${host.url(preview)} meanwhile=${icon} onError=${() => setFailed(preview)} />`
        : html`<img key=${preview} src=${host.url(preview)} alt="" loading="lazy" decoding="async" onError=${() => setFailed(preview)} />`}
  </span>`
}

const TRUST_ICONS = { verified: 'verified', high: 'likely', low: 'unsure', modified: 'modified', none: 'dash', never: 'dash' }

/** How far a match can be trusted. @param {{model: any, iconOnly?: boolean}} props */
export function TrustBadge({ model, iconOnly = false }) {
  const { t, percent } = useI18n()
  const trust = trustOf(model)
  const label = t(`trust.${trust}`)
  const explained = t(`trust.why.${trust}`, {
    confidence: typeof model.match_confidence === 'number' ? percent(model.match_confidence) : '–'
  })
  if (iconOnly) {
    return html`<span class="lib-mark" data-trust=${trust} role="img" aria-label=${label} title=${`${label}: ${explained}`}>
      <${Icon} name=${TRUST_ICONS[trust]} />
    </span>`
  }
  return html`<span class="lib-badge" data-trust=${trust} title=${explained}>
    <${Icon} name=${TRUST_ICONS[trust]} />${label}
  </span>`
}

/** Whether loading the file can run code. In a list, what is safe is no news. @param {{tier: string | undefined, pickle?: string | null, inList?: boolean}} props */
export function TierBadge({ tier = 'unknown', pickle, inList = false }) {
  const { t, term } = useI18n()
  const shown = tier === 'pickle' && pickle === 'dangerous' ? 'dangerous' : tier
  if (inList && shown === 'safe') {
    return html`<span class="lib-mark" data-tier="safe" role="img" aria-label=${term('tier', shown)} title=${`${term('tier', shown)}: ${t('tierWhy.safe')}`}>
      <${Icon} name="shield" />
    </span>`
  }
  return html`<span class="lib-badge" data-tier=${shown} title=${t(`tierWhy.${shown}`)}>${term('tier', shown)}</span>`
}

/** @param {unknown} error @param {I18n} i18n */
export function errorWords(error, { t, told, language }) {
  const problem = /** @type {Partial<ApiError>} */ (error ?? {})
  if (problem.code === 'unreachable') return { title: t('error.unreachable'), detail: t('error.unreachableDetail') }
  const known = t(`error.code.${problem.code}`)
  const own = known === `error.code.${problem.code}` ? '' : known
  // The server says it in English.
  const title = (language.startsWith('en') && problem.title) || own || problem.title || t('error.generic')
  const detail = problem.detail && problem.detail !== title ? told({ message: problem.detail, said: problem.said }) : ''
  return { title, detail: detail || (problem.title ? '' : (problem.message ?? '')) }
}

/** What failed, and again. @param {{error: unknown, what?: string, onRetry?: () => void, onDismiss?: () => void, compact?: boolean}} props */
export function ErrorBox({ error, what, onRetry, onDismiss, compact = false }) {
  const i18n = useI18n()
  const { title, detail } = errorWords(error, i18n)
  const code = /** @type {any} */ (error)?.code
  const explained = [what && !detail.startsWith(title) ? title : '', detail].filter(Boolean).join(' · ')
  return html`<div class=${`lib-error ${compact ? 'lib-error-compact' : ''}`} role="alert">
    <${Icon} name="error" />
    <div class="lib-error-text">
      <strong>${what ?? title}</strong>
      ${explained && html`<p>${explained}</p>`}
      ${code && code !== 'unreachable' && html`<code>${code}</code>`}
    </div>
    ${onDismiss && html`<${IconButton} icon="close" class="is-small" label=${i18n.t('action.dismiss')} onClick=${onDismiss} />`}
    ${onRetry && html`<div class="lib-error-actions"><${Button} icon="refresh" onClick=${onRetry}>${i18n.t('error.retry')}<//></div>`}
  </div>`
}

/** Nothing here, and what to do about it.
 * @param {{icon: string, title: string, text?: string, children?: Children}} props */
export function Empty({ icon, title, text, children }) {
  return html`<div class="lib-empty">
    <span class="lib-empty-icon"><${Icon} name=${icon} /></span>
    <h2>${title}</h2>
    ${text && html`<p>${text}</p>`} ${children && html`<div class="lib-empty-actions">${children}</div>`}
  </div>`
}

/** @param {{value: string, label: string, class?: string}} props */
export function CopyButton({ value, label, class: className = '' }) {
  const { t } = useI18n()
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return undefined
    const timer = setTimeout(() => setCopied(false), 1600)
    return () => clearTimeout(timer)
  }, [copied])
  return html`<${IconButton}
    icon=${copied ? 'check' : 'copy'}
    label=${copied ? t('action.copied') : label}
    class=${`lib-copy ${copied ? 'is-done' : ''} ${className}`}
    onClick=${async () => setCopied(await copyText(value))}
  />`
}

/** @param {string} text @returns {Promise<boolean>} */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Over plain HTTP from another machine browsers offer no clipboard; a selection still copies.
    const field = document.createElement('textarea')
    field.value = text
    field.style.position = 'fixed'
    field.style.opacity = '0'
    document.body.append(field)
    field.select()
    const done = document.execCommand('copy')
    field.remove()
    return done
  }
}

/** How far work is. @param {{progress: ProgressRecord | null | undefined, label: string, details?: boolean}} props */
export function ProgressBar({ progress, label, details = true }) {
  const i18n = useI18n()
  const { current = 0, total = 0, unit = '', rate, eta_s } = progress ?? {}
  const known = Boolean(total)
  const left = eta_s && eta_s >= 1 ? i18n.t('progress.left', { time: i18n.duration(eta_s) }) : ''
  const share = known ? Math.min(1, current / /** @type {number} */ (total)) : 0
  const amount = (/** @type {number} */ value) => (unit === 'bytes' ? i18n.bytes(value) : i18n.number(value))
  return html`<div class="lib-progress">
    <div
      class=${`lib-progress-track ${known ? '' : 'is-unknown'}`}
      role="progressbar"
      aria-label=${label}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${known ? Math.round(share * 100) : undefined}
    >
      <span style=${{ transform: `scaleX(${known ? share : 1})` }}></span>
    </div>
    ${details &&
    html`<div class="lib-progress-text">
      <span>${known ? i18n.t('progress.of', { current: amount(current), total: amount(/** @type {number} */ (total)) }) : i18n.t('progress.working')}</span>
      <span>
        ${rate && unit === 'bytes' ? i18n.t('progress.rate', { rate: i18n.bytes(rate) }) : ''}
        ${rate && unit === 'bytes' && left ? ' · ' : ''}
        ${left}
      </span>
    </div>`}
  </div>`
}

/**
 * A menu that opens at its button, above everything (the top layer, where the browser has it).
 * @param {{label: string, button: (props: any) => any, children: (close: () => void) => Children, onOpen?: () => void,
 *   role?: string}} props
 */
export function Popover({ label, button, children, onOpen, role = 'dialog' }) {
  const [open, setOpen] = useState(false)
  const anchor = useRef(/** @type {HTMLElement | null} */ (null))
  const box = useRef(/** @type {HTMLElement | null} */ (null))

  /** @param {boolean} [giveBack] whether the focus returns to the button */
  const close = (giveBack = true) => {
    setOpen(false)
    if (giveBack) anchor.current?.querySelector('button')?.focus()
  }

  useLayoutEffect(() => {
    if (!open) return undefined
    const element = /** @type {HTMLElement} */ (box.current)
    if (typeof element.showPopover === 'function') element.showPopover()
    const place = () => {
      const from = /** @type {HTMLElement} */ (anchor.current).getBoundingClientRect()
      const panel = /** @type {HTMLElement} */ (element.closest('.lib')).getBoundingClientRect()
      const width = Math.min(element.offsetWidth, panel.width - 16)
      const left = Math.max(panel.left + 8, Math.min(from.left, panel.right - width - 8))
      const below = window.innerHeight - from.bottom - 12
      const above = from.top - 12
      const down = below >= Math.min(element.scrollHeight, 240) || below >= above
      element.style.left = `${left}px`
      element.style.maxHeight = `${Math.max(120, Math.min(420, down ? below : above))}px`
      element.style.top = down ? `${from.bottom + 4}px` : ''
      element.style.bottom = down ? '' : `${window.innerHeight - from.top + 4}px`
    }
    place()
    /** @type {HTMLElement | null} */
    const first = element.querySelector('input, [aria-checked="true"], [aria-selected="true"], button')
    first?.focus()
    /** @param {Event} event */
    const outside = (event) => {
      const target = /** @type {Node} */ (event.target)
      if (!element.contains(target) && !anchor.current?.contains(target)) close(false)
    }
    document.addEventListener('pointerdown', outside, true)
    window.addEventListener('resize', place)
    const sizes = typeof ResizeObserver === 'function' ? new ResizeObserver(place) : null
    sizes?.observe(element)
    return () => {
      document.removeEventListener('pointerdown', outside, true)
      window.removeEventListener('resize', place)
      sizes?.disconnect()
    }
  }, [open])

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key === 'Escape') {
      event.stopPropagation()
      event.preventDefault()
      close()
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      const items = /** @type {HTMLElement[]} */ ([...(box.current?.querySelectorAll('input, button:not([disabled])') ?? [])])
      const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement))
      items[(at + (event.key === 'ArrowDown' ? 1 : -1) + items.length) % items.length]?.focus()
      event.preventDefault()
      event.stopPropagation()
    } else if (event.key === 'Tab') close(false)
  }

  return html`<span class="lib-popover-anchor" ref=${anchor}>
    ${button({
      'aria-haspopup': role,
      'aria-expanded': open ? 'true' : 'false',
      onClick: () => {
        if (open) close()
        else {
          onOpen?.()
          setOpen(true)
        }
      }
    })}
    ${open &&
    html`<div class="lib-popover" ref=${box} role=${role} aria-label=${label} popover="manual" onKeyDown=${onKeyDown}>
      ${children(() => close())}
    </div>`}
  </span>`
}

/**
 * A question before files change. Modal; Esc is «no».
 * @param {{title: string, children: Children, confirm: Children, kind?: 'primary' | 'danger', busy?: boolean,
 *   disabled?: boolean, onConfirm: () => void, onCancel: () => void}} props without `confirm` there is nothing to say yes to
 */
export function Dialog({ title, children, confirm, kind = 'primary', busy = false, disabled = false, onConfirm, onCancel }) {
  const { t } = useI18n()
  const ref = useRef(/** @type {HTMLDialogElement | null} */ (null))
  useLayoutEffect(() => {
    const dialog = /** @type {HTMLDialogElement} */ (ref.current)
    const before = /** @type {HTMLElement | null} */ (document.activeElement)
    if (!dialog.open) dialog.showModal()
    // The harmless answer has the focus.
    const harmless = /** @type {HTMLElement | null} */ (dialog.querySelector('[data-cancel]'))
    harmless?.focus()
    dialog.scrollTop = 0 // what it says comes before its answers, however long it is
    return () => {
      // While it is open, nothing outside it can take the focus.
      dialog.close()
      if (before?.isConnected) before.focus()
    }
  }, [])
  return html`<dialog
    class="lib-dialog"
    ref=${ref}
    aria-label=${title}
    onCancel=${(/** @type {Event} */ event) => {
      event.preventDefault()
      onCancel()
    }}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.stopPropagation()}
  >
    <h2>${title}</h2>
    <div class="lib-dialog-body">${children}</div>
    <div class="lib-dialog-actions">
      <${Button} onClick=${onCancel} data-cancel="true">${t(confirm ? 'action.cancel' : 'action.close')}<//>
      ${confirm && html`<${Button} kind=${kind} busy=${busy} disabled=${disabled} onClick=${onConfirm}>${confirm}<//>`}
    </div>
  </dialog>`
}

/** @param {{count?: number}} props */
export function SkeletonRows({ count = 8 }) {
  return html`<div class="lib-skeletons" aria-hidden="true">
    ${Array.from({ length: count }, (_, at) => html`<${SkeletonRow} key=${at} at=${at} />`)}
  </div>`
}

/** A row that is on its way. @param {{at: number}} props */
export function SkeletonRow({ at }) {
  return html`<div class="lib-row is-skeleton">
    <span class="lib-tile"></span>
    <span class="lib-row-text">
      <span class="lib-bone" style=${{ width: `${55 + ((at * 37) % 35)}%` }}></span>
      <span class="lib-bone is-thin" style=${{ width: `${30 + ((at * 53) % 30)}%` }}></span>
    </span>
  </div>`
}

/** A sheet that lies over the place below; Esc and the arrow go back.
 * @param {{title: string, onClose: () => void, actions?: Children, children: Children, label?: string, class?: string}} props */
export function Sheet({ title, onClose, actions, children, class: className = '' }) {
  const { t } = useI18n()
  const ref = useRef(/** @type {HTMLElement | null} */ (null))
  useLayoutEffect(() => {
    ref.current?.focus({ preventScroll: true })
  }, [])
  return html`<section
    class=${`lib-sheet ${className}`}
    aria-label=${title}
    tabindex="-1"
    ref=${ref}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      if (event.key !== 'Escape') return
      event.stopPropagation()
      onClose()
    }}
  >
    <header class="lib-sheet-header">
      <${IconButton} icon="back" label=${t('action.back')} onClick=${onClose} />
      <h2><${WholeName} text=${title} /></h2>
      ${actions}
    </header>
    <div class="lib-sheet-body">${children}</div>
  </section>`
}
