/** What is to be imported, as the person sees and changes it before anything begins. */

/** @import { Candidate, InspectGroup, LookupAnswer } from '../types.mjs' */
/** @import { ApiError } from '../api.mjs' */

/** @typedef {'copy' | 'move' | 'adopt' | 'in-place' | 'reflink' | 'auto'} Mode */

/**
 * @typedef {object} Draft One group of files, as the person wants it imported.
 * @property {string} key the same for the same files, whenever they are inspected
 * @property {InspectGroup} group
 * @property {string[]} paths files on the server; empty for what was uploaded
 * @property {string[]} uploads ids of uploads; empty for files on the server
 * @property {string[]} beside ids of uploads that come along, such as its picture
 * @property {number} size bytes
 * @property {boolean} inApp whether all its files lie where an app looks for them
 * @property {boolean} include
 * @property {boolean} acknowledged that this is a pickle
 * @property {Record<string, string>} changes what the person wrote instead of the guess
 * @property {boolean} open whether all of it is shown
 * @property {{asking: boolean, answer: LookupAnswer | null, error: ApiError | null}} lookup
 * @property {Candidate | null} candidate the answer that the person chose
 */

/** What of a guess the person may change before the import. */
export const EDITABLE = /** @type {const} */ (['official_name', 'subtype', 'family', 'base_model', 'variant', 'precision'])

/** Left empty, these are guessed after all. */
const NEEDED = new Set(['official_name', 'subtype', 'family'])

export const MODES = /** @type {const} */ (['auto', 'copy', 'move', 'adopt', 'reflink', 'in-place'])

/** Where an app looks for a file, it is neither taken away nor listed: it is listed by itself. */
const NOT_IN_APPS = new Set(['move', 'in-place'])

/** Listed where it lies already, it can still be adopted. @param {Draft} draft */
export const isAdoptable = ({ group, inApp }) => inApp && !group.problem && (group.duplicate_of ?? '').startsWith('in-place/')
/** @param {Draft} draft */
export const isImportable = (draft) => draft.group.importable !== false || isAdoptable(draft)
/** @param {Draft} draft */
export const isPickle = ({ group }) => group.security_tier === 'pickle'
/** @param {Draft} draft */
export const needsYes = (draft) => isPickle(draft) && !draft.acknowledged
/** @param {Draft} draft */
export const isUploaded = ({ uploads }) => uploads.length > 0

/** What the files say; a family that is not known is a question to the person, not an answer.
 * @param {Draft} draft @param {string} field @returns {string} */
export function guessOf({ group }, field) {
  const guess = group.guess?.[field]
  if (typeof guess === 'string' && guess && !(guess === 'unknown' && field !== 'subtype')) return guess
  return field === 'official_name' ? group.name : ''
}

/** @param {Draft} draft @param {string} field */
export const valueOf = (draft, field) => draft.changes[field] ?? guessOf(draft, field)

/** @param {string} path @param {string[]} folders */
const isIn = (path, folders) => folders.some((folder) => path.startsWith(folder) && /^[\\/]/.test(path.slice(folder.length)))

/** @param {InspectGroup} group @param {string[]} appFolders @returns {Draft} */
function draftOf(group, appFolders) {
  const paths = group.files.map(({ path }) => path ?? '').filter(Boolean)
  const uploads = group.files.map(({ upload }) => upload ?? '').filter(Boolean)
  const inApp = uploads.length === 0 && paths.length > 0 && paths.every((path) => isIn(path, appFolders))
  /** @type {Draft} */
  const draft = {
    key: [...uploads, ...paths].join('\n') || group.name,
    group,
    paths: uploads.length > 0 ? [] : paths,
    uploads,
    beside: (group.beside ?? []).map(({ upload }) => upload ?? '').filter(Boolean),
    size: group.size_bytes ?? group.files.reduce((sum, file) => sum + (file.size ?? 0), 0),
    inApp,
    include: false,
    acknowledged: false,
    changes: {},
    open: false,
    lookup: { asking: false, answer: null, error: null },
    candidate: null
  }
  return { ...draft, include: isImportable(draft) }
}

/** What the person said of the same files before is kept.
 * @param {Draft[]} before @param {InspectGroup[]} groups @param {string[]} appFolders
 * @returns {Draft[]} those that can be imported first */
export function draftsOf(before, groups, appFolders) {
  const known = new Map(before.map((draft) => [draft.key, draft]))
  const drafts = groups.map((group) => {
    const draft = draftOf(group, appFolders)
    const old = known.get(draft.key)
    if (!old) return draft
    const { acknowledged, changes, open, lookup, candidate } = old
    const include = isImportable(draft) && isImportable(old) ? old.include : draft.include
    return { ...draft, acknowledged, changes, open, lookup, candidate, include }
  })
  const sorted = [...drafts.filter(isImportable), ...drafts.filter((draft) => !isImportable(draft))]
  const able = sorted.filter(isImportable)
  // One or two are looked at; more are looked through.
  return able.length <= 2 ? sorted.map((draft) => (isImportable(draft) ? { ...draft, open: true } : draft)) : sorted
}

/** @param {Draft[]} drafts */
export const chosenOf = (drafts) => drafts.filter((draft) => draft.include)

/** @param {Draft[]} drafts @returns {number} bytes */
export const sizeOf = (drafts) => drafts.reduce((sum, draft) => sum + draft.size, 0)

/** @param {Draft[]} drafts */
export const filesOf = (drafts) => drafts.reduce((sum, draft) => sum + draft.group.files.length, 0)

/** The modes that every one of these allows, the best first. What was uploaded is moved, whatever the mode.
 * @param {Draft[]} drafts @returns {Mode[]} */
export function possibleModes(drafts) {
  const here = drafts.filter((draft) => !isUploaded(draft))
  const possible = MODES.filter((mode) => here.every((draft) => mode === 'adopt' || !(isAdoptable(draft) || (draft.inApp && NOT_IN_APPS.has(mode)))))
  return here.length > 0 && here.every(({ inApp }) => inApp) ? ['adopt', ...possible.filter((mode) => mode !== 'adopt')] : possible
}

/** Whether there are originals left to delete afterwards, none of which an app looks for.
 * @param {Draft[]} drafts @param {Mode} mode */
export function mayDeleteOriginals(drafts, mode) {
  const here = drafts.filter((draft) => !isUploaded(draft))
  return ['auto', 'copy', 'reflink'].includes(mode) && here.length > 0 && !here.some(({ inApp }) => inApp)
}

/** Why the import cannot begin, or null. @param {Draft[]} drafts @returns {null | 'nothing' | 'pickle'} */
export function blockedBy(drafts) {
  const chosen = chosenOf(drafts)
  if (chosen.length === 0) return 'nothing'
  return chosen.some(needsYes) ? 'pickle' : null
}

/** An item of `POST /imports`. Only what the person changed is said: a guess is Librarian's own and may be
 * improved by a lookup, a person's word is not. @param {Draft} draft @param {Mode} mode */
export function itemOf(draft, mode) {
  const said = Object.entries(draft.changes)
    .map(([field, value]) => /** @type {[string, string]} */ ([field, value.trim()]))
    .filter(([field, value]) => value !== guessOf(draft, field) && (value !== '' || !NEEDED.has(field)))
  return {
    ...(isUploaded(draft) ? { uploads: draft.uploads, ...(draft.beside.length > 0 && { beside: draft.beside }) } : { paths: draft.paths, mode }),
    metadata: Object.fromEntries(said),
    acknowledge_pickle: draft.acknowledged
  }
}
