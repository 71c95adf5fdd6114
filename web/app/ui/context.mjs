import { createContext, useContext, useEffect, useLayoutEffect, useState } from '../../vendor/htm-preact.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */

export const PanelContext = createContext(/** @type {LibrarianPanel} */ (/** @type {unknown} */ (null)))

/** The panel's parts. */
export const usePanel = () => useContext(PanelContext)

/**
 * The state of a store; renders again when it changes.
 * @template {object} S
 * @param {{get: () => S, subscribe: (listener: () => void) => () => void}} store
 * @param {(keyof S)[]} names what is looked at, where the rest changes often; all of it when left out
 * @returns {S}
 */
export function useStore(store, ...names) {
  const [state, setState] = useState(store.get())
  useLayoutEffect(() => {
    const look = () =>
      setState((before) => {
        const now = store.get()
        return names.length > 0 && names.every((name) => Object.is(before[name], now[name])) ? before : now
      })
    look()
    return store.subscribe(look)
  }, [store])
  return state
}

/** The time in milliseconds, anew each second while `running`. @param {boolean} running */
export function useSeconds(running) {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    if (!running) return undefined
    setNow(Date.now())
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [running])
  return now
}

/** Words, numbers and dates. */
export const useI18n = () => useStore(usePanel().words).i18n
