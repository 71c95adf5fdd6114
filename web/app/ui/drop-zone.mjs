import { html, useEffect, useState } from '../../vendor/htm-preact.mjs'
import { mayHoldFiles, readDrop, sortOut } from '../dropped-files.mjs'
import { useI18n, usePanel } from './context.mjs'
import { Icon } from './icons.mjs'

/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { ChosenFile } from '../dropped-files.mjs' */

/**
 * Upload what may be a model, and say what was left out.
 * @param {LibrarianPanel} panel @param {() => Promise<ChosenFile[]> | ChosenFile[]} read
 */
export async function uploadChosen(panel, read) {
  const { t } = panel.words.get().i18n
  try {
    const { taken, leftOut } = sortOut(await read())
    if (leftOut.length > 0) {
      const names = leftOut.slice(0, 3).join(', ') + (leftOut.length > 3 ? ', …' : '')
      panel.toast('info', t('drop.leftOut', { count: leftOut.length }), names)
    } else if (taken.length === 0) panel.toast('info', t('drop.nothing'), t('drop.nothingText'))
    if (taken.length > 0) {
      panel.view.go('import')
      panel.imports.takeFiles(taken)
    }
  } catch (error) {
    panel.toast('error', t('drop.failed'), /** @type {Error} */ (error).message)
  }
}

/**
 * The whole panel takes files that are dropped on it. Drags that begin in this page are not files; drops
 * beside the panel are not ours.
 * @param {{root: {current: HTMLElement | null}}} props
 */
export function DropZone({ root }) {
  const panel = usePanel()
  const { t } = useI18n()
  const [over, setOver] = useState(false)

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (root.current)
    let inside = false
    const ours = (/** @type {DragEvent} */ event) => !inside && mayHoldFiles(event.dataTransfer)

    /** @param {DragEvent} event */
    const onOver = (event) => {
      if (!ours(event)) return
      event.preventDefault()
      event.stopPropagation()
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy'
      setOver(true)
    }
    /** Some browsers do not say where the pointer goes; then its place tells. @param {DragEvent} event */
    const onLeave = ({ relatedTarget, clientX, clientY }) => {
      const { left, right, top, bottom } = element.getBoundingClientRect()
      const gone = relatedTarget
        ? !element.contains(/** @type {Node} */ (relatedTarget))
        : clientX <= left || clientX >= right || clientY <= top || clientY >= bottom
      if (gone) setOver(false)
    }
    /** @param {DragEvent} event */
    const onDrop = (event) => {
      setOver(false)
      if (!ours(event) || !event.dataTransfer) return
      event.preventDefault()
      event.stopPropagation()
      const { paths, files } = readDrop(event.dataTransfer)
      const some = event.dataTransfer.files.length > 0
      if (paths.length > 0) {
        panel.view.go('import')
        // The files must be read now, but are sent only if the server cannot reach them by their paths.
        void panel.imports.takePaths(paths, some ? keep(files()) : null)
      } else if (some) void uploadChosen(panel, files)
      else panel.toast('info', panel.words.get().i18n.t('drop.noFile'), panel.words.get().i18n.t('drop.noFileText'))
    }
    const begin = () => (inside = true)
    const end = () => {
      inside = false
      setOver(false)
    }
    element.addEventListener('dragenter', onOver)
    element.addEventListener('dragover', onOver)
    element.addEventListener('drop', onDrop)
    document.addEventListener('dragstart', begin, true)
    document.addEventListener('dragend', end, true)
    document.addEventListener('dragleave', onLeave, true)
    return () => {
      element.removeEventListener('dragenter', onOver)
      element.removeEventListener('dragover', onOver)
      element.removeEventListener('drop', onDrop)
      document.removeEventListener('dragstart', begin, true)
      document.removeEventListener('dragend', end, true)
      document.removeEventListener('dragleave', onLeave, true)
    }
  }, [])

  if (!over) return null
  return html`<div class="lib-drop" data-drop-overlay>
    <div class="lib-drop-text">
      <${Icon} name="tray" />
      <strong>${t('drop.title')}</strong>
      <span>${t('drop.text')}</span>
    </div>
  </div>`
}

/** @template T @param {Promise<T>} promise @returns {() => Promise<T>} whose failure is told to who asks */
function keep(promise) {
  promise.catch(() => {})
  return () => promise
}
