/** @import { Host, Said } from './types.mjs' */

/**
 * Words for the one moment in which no locale can be read: nobody answers. Everything else comes
 * from locales/<lang>/main.json.
 * @type {Record<string, any>}
 */
const WITHOUT_LOCALES = {
  app: { title: 'Model Librarian' },
  error: { unreachable: 'Librarian does not answer', unreachableDetail: 'The server may be restarting.', retry: 'Retry' }
}

/** Hebrew and Arabic: a name in them keeps its order, and leaves the words around it theirs (FSI and PDI). */
const FROM_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/

/** @param {any} tree @param {string} key */
const find = (tree, key) => key.split('.').reduce((node, part) => node?.[part], tree)

/**
 * Words, numbers and dates in the person's language.
 *
 * A value is a text with `{names}`, or an object keyed by plural category (`one`, `other`, …; CLDR)
 * that is chosen by the parameter `count`.
 * @param {string} language a BCP 47 tag
 * @param {any} messages
 */
export function createI18n(language, messages) {
  /** @type {string} */
  let tag = 'en'
  try {
    tag = Intl.getCanonicalLocales(language)[0] ?? 'en'
  } catch {
    // An odd setting is no reason for an empty panel.
  }
  const plural = new Intl.PluralRules(tag)
  const number = new Intl.NumberFormat(tag)
  const compact = new Intl.NumberFormat(tag, { notation: 'compact', maximumFractionDigits: 1 })
  const percent = new Intl.NumberFormat(tag, { style: 'percent', maximumFractionDigits: 0 })
  const date = new Intl.DateTimeFormat(tag, { dateStyle: 'medium', timeStyle: 'short' })
  const day = new Intl.DateTimeFormat(tag, { dateStyle: 'medium' })
  const clock = new Intl.DateTimeFormat(tag, { timeStyle: 'short' })

  /** @param {string} key @param {Record<string, string | number>} [values] */
  function t(key, values = {}) {
    let text = find(messages, key)
    if (text && typeof text === 'object') {
      const count = Number(values['count'] ?? 0)
      text = text[plural.select(count)] ?? text.other
    }
    if (typeof text !== 'string') return key
    if (!text.includes('{')) return text
    return text.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name]
      if (value === undefined) return whole
      if (typeof value === 'number') return number.format(value)
      return FROM_RIGHT.test(value) ? `\u2068${value}\u2069` : value
    })
  }

  /** @type {Intl.NumberFormat[]} */
  const sizes = []
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte']
  /** Bytes the way disks and shops count them (powers of 1000), three digits at most.
   * @param {number | null | undefined} value */
  function bytes(value) {
    if (value === null || value === undefined || !Number.isFinite(value)) return '–'
    let amount = value
    let unit = 0
    while (Math.abs(amount) >= 999.5 && unit < units.length - 1) {
      amount /= 1000
      unit += 1
    }
    const digits = unit === 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2
    // To make a format costs more than to draw a row.
    const kind = unit * 3 + digits
    sizes[kind] ??= new Intl.NumberFormat(tag, {
      style: 'unit',
      unit: /** @type {string} */ (units[unit]),
      unitDisplay: unit === 0 ? 'long' : 'short',
      maximumFractionDigits: digits
    })
    return sizes[kind].format(amount)
  }

  /** @param {number} seconds */
  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds))
    if (whole < 60) return t('time.seconds', { count: whole })
    if (whole < 3600) return t('time.minutes', { count: Math.round(whole / 60) })
    return t('time.hours', { hours: Math.floor(whole / 3600), minutes: Math.round((whole % 3600) / 60) })
  }

  /** Null where a sentence, or one within it, is not known in this language.
   * @param {Said | null | undefined} said @returns {string | null} */
  function sentence(said) {
    if (typeof find(messages, `said.${said?.code}`) !== 'string') return null
    /** @type {Record<string, string | number>} */
    const values = {}
    for (const [name, value] of Object.entries(said?.parameters ?? {})) {
      const inner = typeof value === 'object' ? sentence(value) : name.endsWith('_bytes') ? bytes(Number(value)) : value
      if (inner === null) return null
      values[name] = inner
    }
    return t(`said.${said?.code}`, values)
  }

  return {
    language: tag,
    t,
    /** What the server says, in the person's language where it has the sentence; else as the server says it, in English.
     * @param {{message?: string | null, said?: Said | null} | null | undefined} record */
    told: (record) => sentence(record?.said) ?? record?.message ?? '',
    /** A word of the server's vocabulary (`loras`, `pickle`, …), or itself if we have none for it.
     * @param {string} group @param {string | null | undefined} value */
    term(group, value) {
      if (!value) return ''
      const text = find(messages, `${group}.${value}`)
      return typeof text === 'string' ? text : value
    },
    /** @param {number} value */
    number: (value) => number.format(value),
    /** A large number in few letters. @param {number} value */
    compact: (value) => compact.format(value),
    /** @param {number} value 0 to 1 */
    percent: (value) => percent.format(value),
    bytes,
    duration,
    /** @param {string | null | undefined} iso */
    date(iso) {
      const time = iso ? new Date(iso) : null
      return time && !Number.isNaN(time.getTime()) ? date.format(time) : '–'
    },
    /** A moment in few letters: what was today needs no day. @param {string | null | undefined} iso */
    moment(iso) {
      const time = iso ? new Date(iso) : null
      if (!time || Number.isNaN(time.getTime())) return '–'
      return (time.toDateString() === new Date().toDateString() ? clock : day).format(time)
    }
  }
}

/** @typedef {ReturnType<typeof createI18n>} I18n */

/** For what has to be said before there are messages. */
export const bareI18n = () => createI18n('en', WITHOUT_LOCALES)

/** The languages that locales/ has; a test compares. */
export const LANGUAGES = ['en', 'zh']

/**
 * The language of ours that fits, and the tag for numbers and dates that goes with it: the person's own
 * (`en-GB`) where the language is the same.
 * @param {string} wanted a BCP 47 tag
 */
export function chooseLanguage(wanted) {
  const base = wanted.toLowerCase().split(/[-_]/)[0] ?? ''
  return LANGUAGES.includes(base) ? { language: base, tag: wanted.replace('_', '-') } : { language: 'en', tag: 'en' }
}

/**
 * @param {Host} host
 * @returns {Promise<I18n>} rejects when nobody answers
 */
export async function loadI18n(host) {
  const { language, tag } = chooseLanguage(host.language() || 'en')
  const response = await host.fetch(`/librarian/locales/${language}`)
  if (!response.ok) throw new Error(`locales: ${response.status}`)
  const main = await response.json()
  return createI18n(tag, main.librarian ?? main)
}
