const segmenter =
  typeof Intl !== 'undefined' && 'Segmenter' in Intl ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null

/** What a person sees as one character each; an emoji family is never cut in two.
 * @param {string} text */
const characters = (text) =>
  /^[ -~]*$/.test(text) ? text.split('') : segmenter ? Array.from(segmenter.segment(text), (part) => part.segment) : Array.from(text)

const EXTENSION = /\.(safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx)$/i
const LONGEST_TAIL = 14
const SHORTEST_TAIL = 4

/**
 * Cuts a name into a head that may be shortened and a tail that must stay in sight, because that is
 * where the version stands (`…_xl_base_1.0`). CSS does the shortening, so it fits every width
 * without measuring. The two together are the name, to the letter.
 * @param {string} name
 * @returns {{head: string, tail: string}}
 */
export function splitMiddle(name) {
  const all = characters(name)
  // The extension says less than what is before it, so it does not count towards the tail.
  const extension = EXTENSION.exec(name)?.[0] ?? ''
  const stem = all.length - characters(extension).length
  if (stem <= LONGEST_TAIL + SHORTEST_TAIL) return { head: name, tail: '' }
  const earliest = stem - LONGEST_TAIL
  let cut = stem - 10
  // Begin the tail at a word, if one begins near: `-fp8-v1.5` rather than `n-fp8-v1.5`.
  for (let at = earliest; at <= stem - SHORTEST_TAIL; at += 1) {
    if (/[\s_\-.]/.test(/** @type {string} */ (all[at])) && !/[\d]/.test(all[at - 1] ?? '')) {
      // A space would widen the gap that the ellipsis leaves.
      cut = /\s/.test(/** @type {string} */ (all[at])) ? at + 1 : at
      break
    }
  }
  return { head: all.slice(0, cut).join(''), tail: all.slice(cut, stem).join('') + extension }
}

/** The same form for what is typed and what is listed: no case, no accents, one kind of space.
 * @param {string} text */
export const fold = (text) =>
  text
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
    .toLowerCase()
    .replace(/[\s_\-./]+/g, ' ')

/** @param {string | null | undefined} path */
export const baseName = (path) => (path ?? '').split(/[\\/]/).filter(Boolean).pop() ?? ''

/** Paths as people paste them: one a line, perhaps quoted, perhaps `file://`.
 * @param {string} text
 * @returns {string[]} */
export function parsePaths(text) {
  const seen = new Set()
  for (const line of text.split(/[\r\n]+/)) {
    let path = line.trim().replace(/^(["'])(.*)\1$/, '$2')
    if (/^file:/i.test(path)) {
      // file:///a, file:/a and file://localhost/a are /a; file://server/share is //server/share
      path = path.slice('file:'.length).replace(/^\/\/(localhost)?(?=\/)/i, '')
      try {
        path = decodeURIComponent(path)
      } catch {
        // A per cent sign that encodes nothing is part of the name.
      }
      // file:///C:/models is C:/models
      if (/^\/[A-Za-z]:/.test(path)) path = path.slice(1)
    }
    if (path) seen.add(path)
  }
  return [...seen]
}
