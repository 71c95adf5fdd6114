import { html } from '../../vendor/htm-preact.mjs'
import { RULE_FILTERS, valuesOf } from '../mapping-rules.mjs'
import { useI18n, usePanel, useStore } from './context.mjs'
import { Icon } from './icons.mjs'
import { useDrop } from './mappings-drop.mjs'
import { wordOf } from './mappings-library.mjs'
import { RuleCard } from './mappings-rule.mjs'
import { Button, Empty, IconButton, MiddleName } from './parts.mjs'

/** @import { AppFolder, Chosen, RuleFilter } from '../mapping-rules.mjs' */

/** One folder of the app, the rules that fill it, and what goes there without any. @param {{folder: AppFolder}} props */
function FolderCard({ folder }) {
  const { mappings } = usePanel()
  const { t, term } = useI18n()
  const { drafts, dragging } = useStore(mappings)
  const rules = drafts.filter(({ rule }) => rule.target_subdir === folder.path)
  const chosen = mappings.chosen()
  const { over, on } = useDrop(Boolean(dragging) && folder.inside, () => mappings.putInto(folder))
  const usual = folder.subtypes.map((subtype) => term('subtype', subtype)).join(', ')
  const replaced = rules.length > 0
  const keeps = rules.some(({ rule }) => rule.enabled && folder.subtypes.length > 0 && folder.subtypes.every((one) => rule.filters.subtype?.includes(one)) && valuesOf(rule.filters).length === folder.subtypes.length && rule.patterns.includes('*'))
  return html`<li class=${`lib-app-folder ${over ? 'is-over' : ''} ${dragging && folder.inside ? 'is-ready' : ''}`} data-folder=${folder.path} ...${on}>
    <div class="lib-app-folder-head">
      <${Icon} name="folder" />
      <div class="lib-entry-text">
        <${MiddleName} text=${folder.path} />
        <span class=${`lib-entry-note ${replaced && !keeps ? 'lib-struck' : ''}`}>${!folder.inside ? t('mapping.outside') : usual ? t('mapping.usual', { kinds: usual }) : t('mapping.noUsual')}</span>
      </div>
      ${chosen && folder.inside && html`<${Button} icon="plus" aria-label=${t('mapping.putHereInto', { folder: folder.path })} onClick=${() => mappings.putInto(folder)}>${t('mapping.putHere')}<//>`}
    </div>
    ${rules.length > 0 && html`<ul class="lib-rules">${rules.map((draft) => html`<${RuleCard} key=${draft.key} draft=${draft} />`)}</ul>`}
    ${replaced && usual && !keeps && html`<p class="lib-note lib-app-folder-note">${t('mapping.replaced', { kinds: usual })}${' '}<button type="button" class="lib-link" onClick=${() => mappings.addUsual(folder)}>${t('mapping.addUsual', { kinds: usual })}</button></p>`}
  </li>`
}

/** @param {Parameters<typeof wordOf>[0]} i18n @param {Chosen} chosen */
const sayChosen = (i18n, { model, filters }) =>
  model?.official_name ??
  /** @type {RuleFilter[]} */ (Object.keys(RULE_FILTERS)).flatMap((name) => (filters[name] ?? []).map((value) => wordOf(i18n, name, value))).join(', ')

/** The app's folders, to put things into. */
export function MappingFolders() {
  const { mappings } = usePanel()
  const i18n = useI18n()
  const { t, number } = i18n
  useStore(mappings)
  const folders = mappings.folders()
  const chosen = mappings.chosen()
  return html`<section class="lib-mapping-side" aria-label=${t('mapping.folders')}>
    <h3 class="lib-group-title" tabindex="-1">${t('mapping.folders')} (${number(folders.length)})</h3>
    <div class="lib-chosen" role="status">${chosen &&
      html`<span>${t('mapping.chosen', { what: sayChosen(i18n, chosen) })}</span>
        <${IconButton} icon="close" class="is-small" label=${t('mapping.clearChosen')} onClick=${mappings.clearChosen} />`}</div>
    ${folders.length === 0 && html`<${Empty} icon="folder" title=${t('mapping.noFolders')} text=${t('mapping.noFoldersText')} />`}
    <ul class="lib-app-folders">${folders.map((folder) => html`<${FolderCard} key=${folder.path} folder=${folder} />`)}</ul>
  </section>`
}
