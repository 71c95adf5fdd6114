import { baseName } from './text.mjs'

/** @import { RemoteFile, RemoteModel, RemotePipeline } from './types.mjs' */

/**
 * @typedef {object} FileGroup What is chosen with one tick: a file, or all parts of a set.
 * @property {string} key the path of its first file
 * @property {string} name
 * @property {string[]} paths
 * @property {number | null} size bytes of all of it; null where the host does not say
 * @property {boolean} pickle loading it can run code
 * @property {boolean} belongs needed beside a model rather than a model itself: a VAE, a text encoder, a config
 * @property {number} missing parts of the set that the host does not list
 * @property {RemotePipeline} [pipeline] it is a whole Diffusers folder
 * @property {boolean} [part] it comes with such a folder anyway
 */

const WEIGHTS = /\.(safetensors|sft|gguf|ckpt|pt2?|pth|bin|pkl|onnx)$/i
const PICKLE = /\.(ckpt|pt2?|pth|bin|pkl)$/i
/** What training leaves behind; it loads nowhere. */
const LEFTOVER = /(^|\/)(training_args|optimizer|scheduler|rng_state|random_states)[^/]*$/i
const SHARD = /^(.+?)-(\d+)-of-(\d+)(\.[^./]+)$/i
const INDEX = /\.index\.json$/i
const BESIDE = /(^|[/_.-])(vae|ae|text_encoder|text_encoders|image_encoder|clip|clip_l|clip_g|clip_vision|t5xxl)(_\d)?([/_.-]|$)/i
const BESIDE_KINDS = new Set(['VAE', 'Text Encoder', 'Config'])

/** One remote model among others. @param {{provider: string, repo_id: string}} model */
export const remoteKey = ({ provider, repo_id }) => `${provider}/${repo_id}`

/** @param {RemoteModel} model @returns {RemoteFile[]} */
const filesOf = (model) =>
  model.files?.length ? model.files : (model.file_names ?? []).map((path) => ({ path, size: null }))

/** @param {(number | null | undefined)[]} sizes */
const sum = (sizes) => (sizes.every((size) => typeof size === 'number') ? sizes.reduce((all, size) => Number(all) + Number(size), 0) ?? null : null)

/**
 * The files of a repository as they can be chosen: what is no model is left out, a set is one.
 * @param {RemoteModel} model
 * @returns {FileGroup[]} models first, then what belongs to them
 */
export function groupFiles(model) {
  const pipelines = (model.pipelines ?? []).map((pipeline) => ({
    key: `${pipeline.path}#${pipeline.variant}`, name: folderOf(pipeline.path) || model.name || model.repo_id, paths: [pipeline.path], size: pipeline.size ?? null,
    pickle: pipeline.pickle ?? false, belongs: false, missing: 0, pipeline
  }))
  /** @param {string} path whether it is a part of what comes as one @returns {boolean} */
  const isPart = (path) => pipelines.some(({ pipeline }) => path.startsWith(folderOf(pipeline.path)) && path.slice(folderOf(pipeline.path).length).replace(/^\//, '').includes('/'))
  const files = filesOf(model)
  /** @type {Map<string, {files: RemoteFile[], total: number, name: string}>} */
  const sets = new Map()
  for (const file of files) {
    if (!WEIGHTS.test(file.path) || LEFTOVER.test(file.path)) continue
    // Of the parts of a folder that comes as one, copies for other programs are of no use here.
    if (isPart(file.path) && !/\.safetensors$/i.test(file.path)) continue
    const [, stem = '', , total = '', ending = ''] = SHARD.exec(file.path) ?? []
    const key = stem ? `${stem}*${total}${ending}` : file.path
    const set = sets.get(key) ?? { files: [], total: Number(total) || 1, name: stem ? `${stem}${ending}` : file.path }
    set.files.push(file)
    sets.set(key, set)
  }
  const stems = new Set([...sets.values()].map(({ name }) => name.replace(WEIGHTS, '')))
  const configs = files.filter(({ path }) => /\.ya?ml$/i.test(path) && stems.has(path.replace(/\.ya?ml$/i, '')))
  const indexes = files.filter(({ path }) => INDEX.test(path))

  const groups = [...sets.values()].map(({ files: own, total, name }) => {
    const index = own.length > 1 || total > 1 ? indexes.filter(({ path }) => path === `${name}.index.json`) : []
    const all = [...own, ...index]
    return {
      key: own[0]?.path ?? name,
      name,
      paths: all.map(({ path }) => path),
      size: sum(own.map(({ size }) => size)),
      pickle: PICKLE.test(name),
      part: isPart(own[0]?.path ?? ''),
      belongs: isPart(own[0]?.path ?? '') || BESIDE.test(name) || own.some(({ kind }) => BESIDE_KINDS.has(kind ?? '')),
      missing: Math.max(0, total - own.length)
    }
  })
  const models = groups.filter(({ belongs }) => !belongs)
  // A repository of nothing but VAEs is one of VAEs.
  const [first, beside] = models.length > 0 || pipelines.length > 0 ? [models, groups.filter(({ belongs }) => belongs)] : [groups, []]
  return [
    ...pipelines,
    ...first.map((group) => ({ ...group, belongs: false })),
    ...beside,
    ...configs.map(({ path, size }) => ({ key: path, name: path, paths: [path], size: size ?? null, pickle: false, belongs: true, missing: 0 }))
  ]
}

/** @param {string} path */
const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** What is ticked by itself: the only model, or a Diffusers folder as it is published, where nothing stands beside it.
 * @param {RemoteModel} model @returns {string[]} keys */
export function onlyModel(model) {
  const groups = groupFiles(model).filter(({ belongs }) => !belongs)
  const single = groups.filter(({ pipeline }) => !pipeline)
  const only = single.length === 0 || groups.length === 1 ? groups[0] : undefined
  return only ? [only.key] : []
}

/** The keys after a click on one. A Diffusers folder is asked for alone: its precision is that of the whole request.
 * @param {FileGroup[]} groups @param {string[]} keys @param {string} key */
export function toggled(groups, keys, key) {
  if (keys.includes(key)) return keys.filter((other) => other !== key)
  const isWhole = (/** @type {string} */ one) => groups.some((group) => group.key === one && group.pipeline)
  return isWhole(key) ? [key] : [...keys.filter((other) => !isWhole(other)), key]
}

/** What is asked for of the server. @param {FileGroup[]} groups @returns {{files: string[], variant?: string}} */
export function wantedFiles(groups) {
  const files = groups.flatMap(({ paths }) => paths)
  const variant = groups.find(({ pipeline }) => pipeline)?.pipeline?.variant
  return { files, ...(variant ? { variant } : {}) }
}

/** @typedef {{name: string, path?: string | undefined, upload?: string | undefined}} OwnFile A file that is here, by its path or its upload. */

/** @typedef {{key: string, name: string, paths: string[], size: number | null, pickle: boolean, missing: number, withOwn: boolean}} RelatedGroup
 *   What belongs to a match: `missing` parts of its set, which are to come together with those that are here, or another file. */

/**
 * What belongs to a file of a repository and is not here: the missing parts of its set first.
 * @param {RemoteFile[]} files of the repository
 * @param {string} path of the file in it
 * @param {OwnFile[]} own
 * @returns {RelatedGroup[]}
 */
export function relatedTo(files, path, own) {
  const groups = groupFiles({ provider: '', repo_id: '', files })
  const mine = groups.find(({ paths }) => paths.includes(path))
  if (!mine) return []
  const names = new Set(own.map(({ name }) => name))
  const isHere = (/** @type {string} */ other) => names.has(baseName(other))
  const parts = mine.paths.filter((part) => !INDEX.test(part))
  const missing = parts.filter((part) => !isHere(part))
  /** @type {RelatedGroup[]} */
  const found = []
  if (parts.length > 1 && missing.length > 0 && missing.length < parts.length) {
    const size = sum(missing.map((part) => files.find((file) => file.path === part)?.size))
    found.push({ key: mine.key, name: mine.name, paths: mine.paths, size, pickle: mine.pickle, missing: missing.length, withOwn: true })
  }
  const stem = path.replace(WEIGHTS, '')
  const beside = groups.filter((group) => group !== mine && group.belongs)
  const isSafe = beside.some(({ name, pickle }) => WEIGHTS.test(name) && !pickle)
  for (const { key, name, paths, size, pickle } of mine.belongs ? [] : beside) {
    // Where a repository has both, a pickle is a copy for older programs.
    if (WEIGHTS.test(name) && !(pickle && isSafe) && !paths.every(isHere)) found.push({ key, name, paths, size, pickle, missing: 0, withOwn: false })
  }
  for (const { key, name, size } of beside) {
    // A config is of use beside its model only, and comes together with it.
    if (!WEIGHTS.test(name) && !isHere(name) && name.replace(/\.ya?ml$/i, '') === stem) found.push({ key, name, paths: [path, key], size, pickle: mine.pickle, missing: 0, withOwn: true })
  }
  return found
}

/** Whether what can be loaded runs code: `safe` if there is something that does not, else `pickle`; empty where
 * no file is known. @param {RemoteModel} model */
export function remoteTier(model) {
  const groups = groupFiles(model).filter(({ belongs }) => !belongs)
  if (groups.length === 0) return ''
  return groups.some(({ pickle }) => !pickle) ? 'safe' : 'pickle'
}

/** Bytes of the only model, where there is one and its size is known. @param {RemoteModel} model */
export function remoteSize(model) {
  const groups = groupFiles(model).filter(({ belongs }) => !belongs)
  return groups.length === 1 ? (groups[0]?.size ?? null) : null
}
