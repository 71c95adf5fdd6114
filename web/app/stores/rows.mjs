/** @import { ModelRow } from '../types.mjs' */

/** Rows of one request, and of one page of what is kept. */
export const PAGE = 100

/** @typedef {(ModelRow | undefined)[]} Page a hole is a row that is not fetched yet */

/**
 * The rows of a long list, by position. Only the pages that were fetched are kept, and a change shares those that stay as
 * they are: with 100,000 models it costs what changed, not how long the list is.
 */
export class Rows {
  /** @type {ReadonlyMap<number, Page>} */
  #pages
  /** @type {number[]} */
  #order

  /** @param {ReadonlyMap<number, Page>} [pages] by their number */
  constructor(pages = new Map()) {
    this.#pages = pages
    this.#order = [...pages.keys()].sort((one, other) => one - other)
  }

  /** @param {ModelRow[]} rows from the first on */
  static of(rows) {
    const pages = new Map()
    for (let at = 0; at < rows.length; at += PAGE) pages.set(at / PAGE, rows.slice(at, at + PAGE))
    return new Rows(pages)
  }

  /** How many are here. */
  get length() {
    return this.here().length
  }

  /** @param {number} position @returns {ModelRow | undefined} */
  at(position) {
    return this.#pages.get(Math.floor(position / PAGE))?.[position % PAGE]
  }

  /** Those that are here, in their order. @returns {ModelRow[]} */
  here() {
    return this.#order.flatMap((page) => /** @type {ModelRow[]} */ (this.#pages.get(page)?.filter(Boolean)))
  }

  /** Those that are here between two positions, the second one included. @param {number} from @param {number} to */
  between(from, to) {
    const rows = []
    for (let at = Math.max(0, from); at <= to; at += 1) {
      const row = this.at(at)
      if (row) rows.push(row)
    }
    return rows
  }

  /** Where a model stands; -1 if it is not here. @param {string | null} modelId */
  positionOf(modelId) {
    for (const page of this.#order) {
      const at = this.#pages.get(page)?.findIndex((row) => row?.model_id === modelId) ?? -1
      if (at >= 0) return page * PAGE + at
    }
    return -1
  }

  /** Whether a page is here as far as the list goes. @param {number} page @param {number} total rows of the list */
  has(page, total) {
    const rows = this.#pages.get(page)
    const length = Math.min(PAGE, total - page * PAGE)
    for (let at = 0; at < length; at += 1) if (!rows?.[at]) return false
    return true
  }

  /** With a page put in; when there are more than `most`, those farthest from it go, but never the first.
   * @param {number} page @param {ModelRow[]} rows @param {number} [most] */
  withPage(page, rows, most = Infinity) {
    const pages = new Map(this.#pages)
    pages.set(page, rows)
    const others = this.#order.filter((one) => one !== 0 && one !== page)
    const far = others.sort((one, other) => Math.abs(other - page) - Math.abs(one - page))
    for (const one of far.slice(0, Math.max(0, others.length - most))) pages.delete(one)
    return new Rows(pages)
  }

  /** Cut to a length. @param {number} total */
  upTo(total) {
    const pages = new Map()
    for (const page of this.#order) {
      const rows = /** @type {Page} */ (this.#pages.get(page))
      if (page * PAGE < total) pages.set(page, rows.length > total - page * PAGE ? rows.slice(0, total - page * PAGE) : rows)
    }
    return new Rows(pages)
  }

  /** With other rows in the place of some; the very same rows if none differs. @param {(row: ModelRow) => ModelRow} change */
  changed(change) {
    const pages = new Map(this.#pages)
    let found = false
    for (const [page, rows] of this.#pages) {
      const changed = rows.map((row) => row && change(row))
      if (changed.every((row, at) => row === rows[at])) continue
      pages.set(page, changed)
      found = true
    }
    return found ? new Rows(pages) : this
  }

  /** Without some models: those behind them move up. @param {ReadonlySet<string>} modelIds */
  without(modelIds) {
    /** @type {Map<number, Page>} */
    const pages = new Map()
    let gone = 0
    for (const page of this.#order) {
      const rows = /** @type {Page} */ (this.#pages.get(page))
      rows.forEach((row, at) => {
        if (!row) return
        if (modelIds.has(row.model_id)) {
          gone += 1
          return
        }
        const to = page * PAGE + at - gone
        const into = pages.get(Math.floor(to / PAGE)) ?? []
        into[to % PAGE] = row
        pages.set(Math.floor(to / PAGE), into)
      })
    }
    return { rows: new Rows(pages), gone }
  }
}
