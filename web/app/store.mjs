/**
 * The panel's state lives outside its components, because ComfyUI destroys the tab on every close.
 * @template {object} S
 * @typedef {object} Store
 * @property {() => S} get
 * @property {(patch: Partial<S>) => void} set merges, and tells whoever listens if something differs
 * @property {(listener: () => void) => () => void} subscribe
 */

/**
 * Looks of which only the one that began last tells what it saw. Each call's promise ends once what is known is at
 * least as new as the call, also where a later one overtakes it.
 * @param {(isNewest: () => boolean) => Promise<void>} look never rejects; asks `isNewest` before it tells
 * @returns {() => Promise<void>}
 */
export function newestOf(look) {
  let sequence = 0
  let newest = Promise.resolve()
  /** @param {number} mine @returns {Promise<void>} */
  async function run(mine) {
    await look(() => mine === sequence)
    if (mine !== sequence) await newest
  }
  return () => (newest = run(++sequence))
}

/**
 * @template {object} S
 * @param {S} initial
 * @returns {Store<S>}
 */
export function createStore(initial) {
  let state = initial
  /** @type {Set<() => void>} */
  const listeners = new Set()
  return {
    get: () => state,
    set(patch) {
      const keys = /** @type {(keyof S)[]} */ (Object.keys(patch))
      if (keys.every((key) => Object.is(state[key], patch[key]))) return
      state = { ...state, ...patch }
      for (const listener of [...listeners]) listener()
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
}
