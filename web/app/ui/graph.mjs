/** @import { LibrarianPanel } from '../librarian-app.mjs' */
/** @import { ModelRow } from '../types.mjs' */

/** The node that loads each kind of model. @type {Record<string, string>} */
const LOADERS = {
  loras: 'LibrarianLoadLora',
  upscale_models: 'LibrarianLoadUpscaleModel'
}

/** @param {LibrarianPanel} panel @param {ModelRow | null} model */
export const canAdd = (panel, model) => Boolean(panel.host.addNode && model?.subtype && LOADERS[model.subtype])

/** Put a loader for the model into the workflow, and say if that failed.
 * @param {LibrarianPanel} panel @param {ModelRow} model */
export function addToGraph(panel, model) {
  const { t } = panel.words.get().i18n
  const loader = LOADERS[model.subtype ?? '']
  if (!loader || !panel.host.addNode) return
  if (!panel.host.addNode(loader, { model_id: model.model_id })) {
    panel.toast('error', t('graph.failed'), t('graph.noNode', { node: loader }))
  }
}
