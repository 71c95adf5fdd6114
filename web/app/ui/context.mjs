import { createContext, useContext, useEffect, useLayoutEffect, useState } from '../../vendor/htm-preact.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */

export const PanelContext = createContext(/** @type {LibrarianPanel} */ (/** @type {unknown} */ (null)))

/** The panel's parts. */
export const usePanel = () => useContext(PanelContext)

/**
 * The state of a store; renders again when it changes.
 * @template {object} S
 * @param {{get: () => S, subscribe: (listener: () => void) => () => void}} store
 * @returns {S}
 */
export function useStore(store) {
  const [state, setState] = useState(store.get())
  useLayoutEffect(() => {
    setState(store.get())
    return store.subscribe(() => setState(store.get()))
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
