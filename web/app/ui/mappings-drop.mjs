import { useState } from '../../vendor/htm-preact.mjs'

/** What makes a place one to drop onto. @param {boolean} able @param {() => void} drop */
export function useDrop(able, drop) {
  const [over, setOver] = useState(false)
  return {
    over: able && over,
    on: able
      ? {
          ondragover: (/** @type {DragEvent} */ event) => {
            event.preventDefault()
            event.stopPropagation()
            if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
            setOver(true)
          },
          ondragleave: (/** @type {DragEvent} */ event) => {
            const inside = /** @type {Node} */ (event.currentTarget).contains(/** @type {Node | null} */ (event.relatedTarget))
            if (!inside) setOver(false)
          },
          ondrop: (/** @type {DragEvent} */ event) => {
            event.preventDefault()
            event.stopPropagation()
            setOver(false)
            drop()
          }
        }
      : {}
  }
}
