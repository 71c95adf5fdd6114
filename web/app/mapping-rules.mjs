/** @import { Facets, LibrarianApp, ModelRow } from './types.mjs' */

/** Filters of a rule, and the filter of `GET /models` that asks for the same. */
export const RULE_FILTERS = /** @type {const} */ ({
  subtype: 'subtype',
  model_type: 'type',
  families: 'family',
  base_model: 'base_model',
  tags: 'tag'
})
/** @typedef {keyof typeof RULE_FILTERS} RuleFilter */
/** @typedef {Partial<Record<RuleFilter | 'exclude_tags', string[]>> & {min_size_mb?: number | null, max_size_mb?: number | null}} RuleFilters */

/**
 * @typedef {object} Rule
 * @property {string} name
 * @property {string} target_subdir below the app's root, with `/`
 * @property {string[]} patterns globs for the name of the main file
 * @property {'file' | 'directory'} link_type
 * @property {RuleFilters} filters
 * @property {boolean} enabled
 * @property {number} priority
 */

/** What is dragged or chosen: filters, or one model. @typedef {{filters: RuleFilters, model?: ModelRow}} Chosen */

/**
 * @typedef {object} AppFolder
 * @property {string} path below the app's root, with `/`; the whole path where it lies elsewhere
 * @property {boolean} inside whether rules can mean it
 * @property {string[]} subtypes what belongs there where no rule says otherwise
 */

const MEGABYTE = 1_000_000

/** ComfyUI's older names of folders, and what they are called today. @type {Record<string, string>} */
const ALIASES = { unet: 'diffusion_models', clip: 'text_encoders' }

/** @param {string} path */
const slashes = (path) => path.replace(/\\/g, '/').replace(/(.)\/+$/, '$1')

/** @param {string} path */
const lastName = (path) => path.split('/').pop()

/**
 * The folders of an app, each with the kinds of models that go there by themselves.
 * @param {LibrarianApp} app @param {Pick<Rule, 'target_subdir'>[]} rules folders that only rules name are listed as well
 * @param {Rule[]} [preset] the rules that ship with Librarian for this kind of app, where they hold
 * @returns {AppFolder[]}
 */
export function foldersOf(app, rules, preset = []) {
  const root = slashes(app.root ?? '')
  /** @type {Map<string, AppFolder>} */
  const found = new Map()
  const folder = (/** @type {string} */ path, /** @type {boolean} */ inside) => {
    const known = found.get(path) ?? { path, inside, subtypes: [] }
    found.set(path, known)
    return known
  }
  for (const { target_subdir, filters } of preset) folder(target_subdir, true).subtypes.push(...(filters.subtype ?? []))
  const placed = new Set(preset.flatMap(({ filters }) => filters.subtype ?? []))
  for (const [subtype, paths] of Object.entries(app.folders ?? {})) {
    const all = paths.map(slashes)
    const first = all.find((path) => !((lastName(path) ?? '') in ALIASES)) ?? all[0]
    for (const path of all) {
      const inside = path.startsWith(`${root}/`)
      const one = folder(inside ? path.slice(root.length + 1) : path, inside)
      if (path === first && !placed.has(subtype)) one.subtypes.push(subtype)
    }
  }
  for (const { target_subdir } of rules) if (target_subdir) folder(target_subdir, true)
  return [...found.values()].sort((one, other) => Number(other.inside) - Number(one.inside) || one.path.localeCompare(other.path))
}

/** A glob that means exactly this name. @param {string} name */
export const globOf = (name) => name.replace(/[[*?]/g, '[$&]')

/** @param {string} pattern as Python's fnmatch reads it @returns {RegExp} */
export function regexOf(pattern) {
  const source = pattern.replace(/\[(!?)(\]?[^\]]*)\]|[\s\S]/g, (part, not, set) => {
    if (set !== undefined) return `[${not ? '^' : ''}${set.replace(/[\\\]^[]/g, '\\$&')}]`
    if (part === '*') return '[\\s\\S]*'
    if (part === '?') return '[\\s\\S]'
    return part.replace(/[.+^${}()|\\[\]/]/g, '\\$&')
  })
  try {
    return new RegExp(`^(?:${source})$`, 'iu')
  } catch {
    // Such as a range that runs backwards: it means nothing.
    return /^(?!)/
  }
}

/**
 * What `GET /models` can be asked for; the rest of a rule is looked at here. Rules compare without regard to
 * case, `GET /models` does not, so values are spelled as the library spells them.
 * @param {RuleFilters} filters @param {Facets | null} facets
 */
export const queryOf = (filters, facets) =>
  Object.fromEntries(
    Object.entries(RULE_FILTERS).map(([name, asked]) => {
      const values = (filters[/** @type {RuleFilter} */ (name)] ?? []).flatMap((value) => {
        const folded = value.toLowerCase()
        const meant = name === 'subtype' ? (ALIASES[folded] ?? folded) : folded
        const spelled = (facets?.[asked] ?? []).map((one) => one.value).filter((one) => one.toLowerCase() === meant)
        return spelled.length > 0 ? spelled : [meant === folded ? value : meant]
      })
      return [asked, values]
    })
  )

/** Whether a rule wants a model that `GET /models` answered for it. @param {Rule} rule @param {ModelRow} model */
export function wants(rule, model) {
  const folder = model.model_format === 'diffusion-folder'
  if (folder !== (rule.link_type === 'directory')) return false
  const name = folder ? (model.model_id.split('/').pop() ?? '') : (model.file_name ?? '')
  if (!rule.patterns.some((pattern) => regexOf(pattern).test(name))) return false
  const { exclude_tags = [], min_size_mb, max_size_mb } = rule.filters
  const excluded = new Set(exclude_tags.map((tag) => tag.toLowerCase()))
  if ((model.tags ?? []).some((tag) => excluded.has(tag.toLowerCase()))) return false
  const size = (model.size_bytes ?? 0) / MEGABYTE
  return (min_size_mb ?? 0) <= size && size <= (max_size_mb ?? Infinity)
}

/** @param {RuleFilters} filters @returns {string[]} all that it asks for */
export const valuesOf = (filters) => Object.keys(RULE_FILTERS).flatMap((name) => filters[/** @type {RuleFilter} */ (name)] ?? [])

/**
 * The rule that is meant when something is put onto a folder. Where it does not say which kind of model, it
 * is the kind that belongs there, so that a family put onto `loras` does not bring its checkpoints along.
 * @param {Chosen} chosen @param {AppFolder} folder
 * @returns {Rule}
 */
export function ruleOf({ filters, model }, folder) {
  const subtype = filters.subtype?.length ? filters.subtype : model ? [] : folder.subtypes
  return {
    name: model ? (model.official_name ?? model.model_id) : valuesOf(filters).join(', ') || folder.path,
    target_subdir: folder.path,
    patterns: [model?.file_name && model.model_format !== 'diffusion-folder' ? globOf(model.file_name) : '*'],
    link_type: model?.model_format === 'diffusion-folder' ? 'directory' : 'file',
    filters: { ...filters, ...(subtype.length > 0 && { subtype }) },
    enabled: true,
    priority: 0
  }
}

/** What belongs into a folder by itself, as a rule, to be kept beside others. @param {AppFolder} folder @returns {Rule} */
export const usualRule = (folder) => ({ ...ruleOf({ filters: { subtype: folder.subtypes } }, folder), name: folder.subtypes.join(', ') })

/** Both together. @param {RuleFilters} filters @param {RuleFilters} more @returns {RuleFilters} */
export function merged(filters, more) {
  const both = { ...filters }
  for (const name of /** @type {RuleFilter[]} */ (Object.keys(RULE_FILTERS))) {
    if (more[name]?.length) both[name] = [...new Set([...(filters[name] ?? []), ...more[name]])]
  }
  return both
}

/** @param {any} rule as the server tells it @returns {Rule} */
export const tidyRule = (rule) => ({ patterns: ['*'], link_type: 'file', enabled: true, priority: 0, ...rule, filters: rule.filters ?? {} })
