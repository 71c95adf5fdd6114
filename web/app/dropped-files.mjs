/**
 * What a person dropped or chose: files to upload, or paths to import from. A browser tells no path of a
 * dropped file; a desktop app, or a file manager that hands over `file://` addresses, does.
 */
import { parsePaths } from './text.mjs'

/** @typedef {{file: File, path: string}} ChosenFile A file, and its path in what was chosen, with `/`. */

/** Endings of files that may be models; core/settings.py says the same, and a test compares. */
export const MODEL_ENDINGS = ['safetensors', 'sft', 'gguf', 'ckpt', 'pt', 'pt2', 'pth', 'bin', 'pkl', 'onnx']

const MB = 1024 * 1024
/** What lies beside a model and comes along: what follows the name without its extension, and how large it may be, in bytes.
 * core/formats/sidecars.py says the same, and a test compares. @type {Record<string, number>} */
export const BESIDE = {
  ...Object.fromEntries(['png', 'jpg', 'jpeg', 'webp', 'gif', 'mp4', 'webm'].flatMap((kind) => [[`.${kind}`, 64 * MB], [`.preview.${kind}`, 64 * MB]])),
  ...Object.fromEntries(['.metadata.json', '.civitai.info', '.json', '.md', '.txt', '.yaml', '.yml'].map((ending) => [ending, 4 * MB]))
}

const MODEL = new RegExp(`\\.(${MODEL_ENDINGS.join('|')})(\\.part\\d+(of\\d+)?)?$`, 'i')
const SHARD_INDEX = /\.index(\.[\w-]+)?\.json$/i
const PIPELINE = 'model_index.json'

/** @param {string} path */
const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** What the names of a model's neighbours may begin with: its own without extension, or that of the set which it is a part of.
 * @param {string} path */
function stemsOf(path) {
  const whole = path.replace(/\.part\d+(of\d+)?$/i, '')
  const stem = whole.replace(/\.[^./]*$/, '')
  return [stem, stem.replace(/-\d{1,6}-of-\d{1,6}$|_\d{5}$/, '')]
}

/**
 * The files worth uploading: whatever may be a model, what lies beside it, and all of a Diffusers folder.
 * @param {ChosenFile[]} files
 * @returns {{taken: ChosenFile[], leftOut: string[]}} the paths of the others; hidden files are not mentioned
 */
export function sortOut(files) {
  const seen = files.filter(({ path }) => !path.split('/').some((part) => part.startsWith('.')))
  const pipelines = seen.filter(({ path }) => path.split('/').pop() === PIPELINE).map(({ path }) => folderOf(path))
  const belongs = (/** @type {string} */ path) =>
    pipelines.some((folder) => folder === '' || path.startsWith(`${folder}/`))
  const isModel = (/** @type {string} */ path) => MODEL.test(path) || SHARD_INDEX.test(path) || belongs(path)
  const stems = new Set(seen.filter(({ path }) => MODEL.test(path)).flatMap(({ path }) => stemsOf(path)))
  const isBeside = (/** @type {ChosenFile} */ { file, path }) =>
    Object.entries(BESIDE).some(([ending, largest]) => {
      const fits = path.toLowerCase().endsWith(ending) && file.size > 0 && file.size <= largest
      return fits && stems.has(path.slice(0, -ending.length))
    })
  /** @type {ChosenFile[]} */
  const taken = []
  /** @type {string[]} */
  const leftOut = []
  for (const one of seen) {
    if (isModel(one.path) || isBeside(one)) taken.push(one)
    else leftOut.push(one.path)
  }
  return { taken, leftOut }
}

/** The path of a file on this machine, where the browser is a desktop app that tells it. @param {File} file */
function pathOf(file) {
  const desktop = /** @type {any} */ (globalThis)
  const said =
    desktop.electronAPI?.getPathForFile?.(file) ?? desktop.webUtils?.getPathForFile?.(file) ?? /** @type {any} */ (file).path
  return typeof said === 'string' && /^([\\/]|[a-z]:[\\/])/i.test(said) ? said : ''
}

/** @param {FileList | File[]} list what an `<input type="file">` holds @returns {ChosenFile[]} */
export const chosenFiles = (list) => [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }))

/** Whether something is dragged that may be files. @param {DataTransfer | null} transfer */
export const mayHoldFiles = (transfer) =>
  Boolean(transfer) && [...(transfer?.types ?? [])].some((type) => type === 'Files' || type === 'text/uri-list')

/**
 * Reads a drop. What is in it must be taken while the event is handled: afterwards it is empty.
 * @param {DataTransfer} transfer
 * @returns {{paths: string[], files: () => Promise<ChosenFile[]>}} `files` walks folders and rejects if one
 *   cannot be read
 */
export function readDrop(transfer) {
  const addresses = transfer.getData('text/uri-list').split(/[\r\n]+/).filter((line) => /^file:/i.test(line))
  const loose = [...transfer.files]
  const own = loose.map(pathOf)
  const paths = addresses.length > 0 ? parsePaths(addresses.join('\n')) : own.every(Boolean) ? own : []
  const items = [...(transfer.items ?? [])].filter((item) => item.kind === 'file')
  const entries = items.map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry !== null && entry !== undefined)
  return {
    paths,
    files: async () => (entries.length > 0 ? (await Promise.all(entries.map(walk))).flat() : chosenFiles(loose))
  }
}

/** @param {FileSystemEntry} entry @returns {Promise<ChosenFile[]>} */
async function walk(entry) {
  const path = entry.fullPath.replace(/^\//, '')
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))
    return [{ file: /** @type {File} */ (file), path }]
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader()
  /** @type {ChosenFile[]} */
  const files = []
  for (;;) {
    // A browser tells at most a hundred at a time, and an empty list at the end.
    const some = /** @type {FileSystemEntry[]} */ (await new Promise((resolve, reject) => reader.readEntries(resolve, reject)))
    if (some.length === 0) return files
    for (const inside of some) files.push(...(await walk(inside)))
  }
}
