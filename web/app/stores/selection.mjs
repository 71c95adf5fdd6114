import { isAbort } from '../api.mjs'
import { createStore } from '../store.mjs'

/** @import { ApiError } from '../api.mjs' */
/** @import { ModelRow } from '../types.mjs' */
/** @import { Rows } from './rows.mjs' */
/** @import { Search } from './search.mjs' */

/**
 * @typedef {object} SelectionState
 * @property {boolean} selecting whether the list shows boxes to tick
 * @property {ReadonlyMap<string, ModelRow>} chosen by model id, in the order in which they were chosen
 * @property {boolean} gathering whether the rest of what was found is being fetched
 * @property {ApiError | null} error
 */

/** Which models something is to be done with. @param {Search} search */
export function createSelection(search) {
  const store = createStore(
    /** @type {SelectionState} */ ({ selecting: false, chosen: new Map(), gathering: false, error: null })
  )
  /** Where a range begins. @type {string | null} */
  let anchor = null
  /** @type {AbortController | null} */
  let running = null

  /** @param {Map<string, ModelRow>} chosen */
  const show = (chosen) => store.set({ chosen, selecting: store.get().selecting || chosen.size > 0, error: null })

  function stop() {
    running?.abort()
    running = null
    if (store.get().gathering) store.set({ gathering: false })
  }

  return {
    ...store,

    /** @param {ModelRow} model */
    toggle(model) {
      stop()
      anchor = model.model_id
      const chosen = new Map(store.get().chosen)
      if (!chosen.delete(model.model_id)) chosen.set(model.model_id, model)
      show(chosen)
    },

    /** From where the last one was chosen to here. @param {ModelRow} model @param {Rows} rows as they are shown */
    extend(model, rows) {
      stop()
      const to = rows.positionOf(model.model_id)
      const from = Math.max(0, anchor === null ? to : rows.positionOf(anchor))
      const chosen = new Map(store.get().chosen)
      for (const row of rows.between(Math.min(from, to), Math.max(from, to))) chosen.set(row.model_id, row)
      anchor ??= model.model_id
      show(chosen)
    },

    /** Everything that is found, also what is not fetched yet. */
    async all() {
      stop()
      running = new AbortController()
      const mine = running
      store.set({ gathering: true, selecting: true, error: null })
      try {
        const rows = await search.everything(mine.signal)
        if (mine === running) {
          show(new Map(rows.map((row) => [row.model_id, row])))
          store.set({ gathering: false })
        }
      } catch (error) {
        if (mine === running && !isAbort(error)) store.set({ gathering: false, error: /** @type {ApiError} */ (error) })
      }
    },

    begin: () => store.set({ selecting: true }),

    clear() {
      stop()
      anchor = null
      store.set({ selecting: false, chosen: new Map(), error: null })
    },

    /** What the models are now, or that they are gone. @param {(row: ModelRow) => ModelRow | null} change */
    update(change) {
      const chosen = new Map()
      for (const [id, row] of store.get().chosen) {
        const changed = change(row)
        if (changed) chosen.set(id, changed)
      }
      store.set({ chosen, selecting: store.get().selecting && chosen.size > 0 })
    }
  }
}

/** @typedef {ReturnType<typeof createSelection>} Selection */
