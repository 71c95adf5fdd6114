import { afterEach, describe, expect, test, vi } from 'vitest'
import { foldersOf, globOf, queryOf, regexOf, ruleOf, wants } from '../../web/app/mapping-rules.mjs'
import { openPanel, press, settle } from './panel-in-a-page.mjs'

afterEach(() => {
  document.body.replaceChildren()
  vi.useRealTimers()
})

/** @param {Parameters<typeof openPanel>[0]} [options] @param {string} [app] */
async function editor(options, app = 'ComfyUI') {
  const page = await openPanel(options)
  await settle()
  page.panel.panel.view.go('links')
  await settle()
  page.button(`More for ${app}`).click()
  await settle()
  page.all('[role=menuitem]')[0]?.click()
  await settle()
  return page
}

/** @param {any} page @param {string} word */
const pick = (page, word) => page.all('.lib-pick').find((/** @type {any} */ one) => one.textContent.includes(word))

/** Drag one thing onto another, as a mouse does. @param {any} from @param {any} to */
async function drag(from, to) {
  from.dispatchEvent(new Event('dragstart', { bubbles: true }))
  await settle()
  const over = new Event('dragover', { bubbles: true, cancelable: true })
  to.dispatchEvent(over)
  to.dispatchEvent(new Event('drop', { bubbles: true, cancelable: true }))
  await settle()
  return over.defaultPrevented
}

/** @param {any} page */
const saved = (page) => page.fake.requests.filter((/** @type {any} */ one) => one.method === 'PUT').map((/** @type {any} */ one) => ({ path: decodeURIComponent(one.path), ...one.body }))

describe('mapping editor', () => {
  test('a family that is dragged onto a folder becomes a rule of that folder’s kind, and says what it catches', async () => {
    const page = await editor()
    expect(await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))).toBe(true)
    const count = page.fake.models.filter((/** @type {any} */ one) => one.family === 'sdxl' && one.subtype === 'loras').length
    expect(page.find('.lib-catch').dataset.count).toBe(String(count))
    expect(page.text()).toContain('Your rules take the place of the usual one (LoRA).')
    page.button('Save 1 rule').click()
    await settle()
    expect(saved(page)).toEqual([
      { path: '/mappings/comfyui_*_default', app: 'comfyui', version: '*', variant: 'default', rules: [
        { name: 'sdxl', target_subdir: 'loras', patterns: ['*'], link_type: 'file', filters: { families: ['sdxl'], subtype: ['loras'] }, enabled: true, priority: 0 }
      ] }
    ])
    expect(page.button('Saved').disabled).toBe(true)
  })

  test('without a mouse: choose, then «Put here»', async () => {
    const page = await editor()
    expect(() => page.button(/^Put here/)).toThrow()
    expect(pick(page, 'VAE').tabIndex).toBe(0)
    press(pick(page, 'VAE'), ' ')
    await settle()
    expect(page.text()).toContain('Chosen: VAE')
    page.button('Put here: checkpoints').click()
    await settle()
    expect(page.find('[data-folder=checkpoints] .lib-rule').dataset.rule).toBe('vae')
    expect(page.text()).not.toContain('Chosen:')
    expect(document.activeElement?.className).toBe('lib-rule-open')
    page.button('Remove rule vae').click()
    await settle()
    expect(page.all('.lib-rule')).toHaveLength(0)
    expect(document.activeElement?.textContent).toContain('Folders of the app')
  })

  test('what is chosen together is dragged together; one model is meant by its name', async () => {
    const page = await editor()
    pick(page, 'sdxl').click()
    await settle()
    pick(page, 'LoRA').click()
    await settle()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    await drag(page.find('.lib-pick-model'), page.find('[data-folder=vae]'))
    page.button('Save 2 rules').click()
    await settle()
    const [{ rules }] = saved(page)
    expect(rules[0].filters).toEqual({ subtype: ['loras'], families: ['sdxl'] })
    expect(rules[1].patterns).toEqual(['flux1-dev-fp8.safetensors'])
    expect(rules[1].filters).toEqual({})
  })

  test('a tag that is dropped onto a rule narrows it', async () => {
    const page = await editor()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    await drag(pick(page, 'detail'), page.find('.lib-rule'))
    page.button('Save 1 rule').click()
    await settle()
    expect(saved(page)[0].rules[0].filters).toEqual({ families: ['sdxl'], subtype: ['loras'], tags: ['detail'] })
  })

  test('the usual rule is kept beside others on request', async () => {
    const page = await editor()
    await drag(pick(page, 'flux'), page.find('[data-folder=loras]'))
    page.button('Also put LoRA here').click()
    await settle()
    expect(page.text()).not.toContain('take the place of the usual one')
    expect(page.all('[data-folder=loras] .lib-rule').map((one) => one.dataset['rule'])).toEqual(['flux', 'loras'])
  })

  test('what the server finds wrong is said at its field, and nothing is lost', async () => {
    const page = await editor()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    const folder = page.all('.lib-rule-form input')[1]
    Object.assign(/** @type {any} */ (folder), { value: '../elsewhere' })
    folder?.dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    page.button('Save 1 rule').click()
    await settle()
    const wrong = page.find('.lib-rule-form [aria-invalid=true]')
    expect(wrong.value).toBe('../elsewhere')
    expect(page.find(`#${wrong.getAttribute('aria-describedby')}`).textContent).toContain('must be a folder below the app')
    expect(page.text()).toContain('1 field is wrong')
    expect(page.button('Save 1 rule').disabled).toBe(false)
  })

  test('what is typed stays while the rest of the rule changes', async () => {
    const page = await editor()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    const typed = async (/** @type {any} */ field, /** @type {string} */ text) => {
      field.value = text
      field.dispatchEvent(new Event('input', { bubbles: true }))
      await settle()
      expect(field.value).toBe(text)
    }
    const field = (/** @type {string} */ name) => page.find(`.lib-rule-form [id$=${name}]`)
    await typed(field('folder'), 'loras/half-typed')
    await typed(field('patterns'), 'a*\n')
    await typed(field('patterns'), 'a*\nb*')
    await typed(field('priority'), '-3')
    await typed(field('min_size_mb'), '1.50')
    expect(field('folder').value).toBe('loras/half-typed')
    field('folder').dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    expect(document.activeElement?.closest('[data-folder]')?.getAttribute('data-folder')).toBe('loras/half-typed')
    page.button('Save 1 rule').click()
    await settle()
    expect(saved(page)[0].rules[0]).toMatchObject({ target_subdir: 'loras/half-typed', patterns: ['a*', 'b*'], priority: -3, filters: { min_size_mb: 1.5 } })
  })

  test('what was changed is not left without a question', async () => {
    const page = await editor()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    for (const leave of [() => page.button('Back').click(), () => press(document.activeElement, 'Escape')]) {
      leave()
      await settle()
      expect(page.find('.lib-dialog').textContent).toContain('not saved yet')
      page.find('[data-cancel]').click()
      await settle()
      expect(page.all('.lib-rule')).toHaveLength(1)
    }
  })

  test('back to the usual rules', async () => {
    const page = await editor()
    await drag(pick(page, 'sdxl'), page.find('[data-folder=loras]'))
    page.button('Save 1 rule').click()
    await settle()
    page.button('Back to the usual rules').click()
    await settle()
    expect(page.find('.lib-dialog').textContent).toContain('Your 1 rule is deleted.')
    page.all('.lib-dialog-actions button')[1]?.click()
    await settle()
    expect(page.fake.requests.some(({ method, path }) => method === 'DELETE' && decodeURIComponent(path) === '/mappings/comfyui_*_default')).toBe(true)
    expect(page.all('.lib-rule')).toHaveLength(0)
  })

  test.each([
    ['of the preset’s name', 'forge'],
    ['of another name', 'webui']
  ])('an app that was added: a mapping %s stands above the preset, folder by folder', async (_, app) => {
    const rule = (/** @type {string} */ name, /** @type {string} */ folder) => ({ name, target_subdir: folder, patterns: ['*'], link_type: 'file', filters: { subtype: [name] }, enabled: true, priority: 0 })
    const preset = { name: 'forge_*_default', source: 'preset', mapping: { app: 'forge', version: '*', variant: 'default', rules: [rule('checkpoints', 'models/Stable-diffusion'), rule('loras', 'models/Lora')] } }
    const page = await editor({ prepare: (fake) => {
      fake.routes['GET /mappings'] = () => ({ status: 200, body: { mappings: [preset], problems: [] } })
      // Folders that rules of the person name are told first.
      fake.routes['GET /apps'] = () => ({ status: 200, body: { apps: [{ app, name: app, kind: 'forge', root: '/opt/forge', added: true, links: 0, folders: { loras: ['/opt/forge/models/Lora/sdxl', '/opt/forge/models/Lora'] } }] } })
    } }, app)
    expect(page.find('[data-folder="models/Lora"]').textContent).toContain('By itself: LoRA')
    expect(page.find('[data-folder="models/Lora/sdxl"]').textContent).toContain('Nothing by itself')
    await drag(pick(page, 'sdxl'), page.find('[data-folder="models/Lora"]'))
    page.button(/^Save/).click()
    await settle()
    const [{ path, rules }] = saved(page)
    expect(path).toBe(`/mappings/${app}_*_default`)
    expect(rules.map((/** @type {any} */ one) => one.name)).toEqual(['sdxl'])
  })

  test('a saved mapping of the preset’s name leaves the preset’s other folders', async () => {
    const rule = (/** @type {string} */ name, /** @type {string} */ folder) => ({ name, target_subdir: folder, patterns: ['*'], link_type: 'file', filters: { subtype: [name] }, enabled: true, priority: 0 })
    const mapping = (/** @type {string} */ source, /** @type {any[]} */ rules) => ({ name: 'forge_*_default', source, mapping: { app: 'forge', version: '*', variant: 'default', rules } })
    const page = await editor({ prepare: (fake) => {
      fake.routes['GET /mappings'] = () => ({ status: 200, body: { mappings: [mapping('person', [{ ...rule('loras', 'models/Lora'), name: 'mine' }]), mapping('preset', [rule('checkpoints', 'models/Stable-diffusion'), rule('loras', 'models/Lora')])], problems: [] } })
      fake.routes['GET /apps'] = () => ({ status: 200, body: { apps: [{ app: 'forge', name: 'forge', kind: 'forge', root: '/opt/forge', added: true, links: 0, folders: {} }] } })
    } }, 'forge')
    expect(page.all('.lib-rule')).toHaveLength(1)
    expect(page.find('[data-folder="models/Stable-diffusion"]').textContent).toMatch(/By itself: Checkpoint/)
  })

  test('a rule that is not in use keeps the usual one away, and says so', async () => {
    const page = await editor({ prepare: (fake) => {
      const rule = { name: 'off', target_subdir: 'models/loras', patterns: ['*'], link_type: 'file', filters: {}, enabled: false, priority: 0 }
      fake.routes['GET /mappings'] = () => ({ status: 200, body: { mappings: [{ name: 'comfyui_*_default', source: 'person', mapping: { app: 'comfyui', version: '*', variant: 'default', rules: [rule] } }], problems: [] } })
      fake.routes['GET /apps'] = () => ({ status: 200, body: { apps: [{ app: 'comfyui', name: 'ComfyUI', kind: 'comfyui', root: '/opt/c', links: 0, folders: { loras: ['/opt/c/models/loras'] } }] } })
    } })
    expect(page.find('[data-folder="models/loras"]').textContent).toContain('Your rules take the place of the usual one')
  })

  test('another ComfyUI has its folders from its own code, and the newer of two names gets the models', async () => {
    const app = { app: 'other', kind: 'comfyui', added: true, root: '/o', folders: { diffusion_models: ['/o/models/unet', '/o/models/diffusion_models'], loras: ['/big/MyLoras', '/o/models/loras'] } }
    expect(foldersOf(app, []).map(({ path, subtypes }) => [path, subtypes.join()])).toEqual([
      ['models/diffusion_models', 'diffusion_models'], ['models/loras', ''], ['models/unet', ''], ['/big/MyLoras', 'loras']
    ])
  })

  test('a mapping that cannot be used is named with key and reason', async () => {
    const page = await editor({ prepare: (fake) => (fake.routes['GET /mappings'] = () => ({ status: 200, body: { mappings: [], problems: [{ file: 'comfyui_any_default.json', key: 'rules.0.priority', reason: 'Input should be a valid integer' }] } })) })
    for (const words of ['comfyui_any_default.json is not used', 'rules.0.priority', 'Input should be a valid integer']) expect(page.text()).toContain(words)
  })
})

describe('rules', () => {
  test.each([
    ['*', 'anything.safetensors', true],
    ['*xl*', 'SD_XL_base.safetensors', true],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['v[0-9]', 'v3', true],
    ['v[!0-9]', 'v3', false],
    ['a.b', 'axb', false],
    ['pixel-art_{v1}+(a|b)^$/x.y', 'pixel-art_{v1}+(a|b)^$/x.y', true],
    ['[]]*', ']x', true],
    ['[!]]', ']', false],
    ['a[', 'a[', true],
    ['[z-a]', 'a', false],
    [globOf('odd [1]*?.safetensors'), 'odd [1]*?.safetensors', true],
    [globOf('odd [1]*?.safetensors'), 'odd 1xx.safetensors', false]
  ])('%s for %s: %s', (pattern, name, fits) => expect(regexOf(pattern).test(name)).toBe(fits))

  test('sizes, excluded tags and whole folders', () => {
    const model = { model_id: 'a/b/c', file_name: 'c.safetensors', size_bytes: 5_000_000, tags: ['NSFW'], model_format: 'single-file' }
    const rule = ruleOf({ filters: {} }, { path: 'loras', inside: true, subtypes: ['loras'] })
    const having = (/** @type {any} */ filters) => wants({ ...rule, filters }, model)
    expect(having({})).toBe(true)
    expect(having({ min_size_mb: 5, max_size_mb: 5 })).toBe(true)
    expect(having({ min_size_mb: 5.1 })).toBe(false)
    expect(having({ max_size_mb: 4.9 })).toBe(false)
    expect(having({ exclude_tags: ['nsfw'] })).toBe(false)
    expect(wants({ ...rule, link_type: 'directory' }, model)).toBe(false)
    expect(wants({ ...rule, link_type: 'directory' }, { ...model, model_format: 'diffusion-folder' })).toBe(true)
  })

  test('values are asked for as the library spells them', () => {
    const facets = { family: [{ value: 'SDXL', count: 1 }, { value: 'sdxl', count: 2 }], subtype: [{ value: 'text_encoders', count: 1 }] }
    expect(queryOf({ families: ['Sdxl', 'Other'], subtype: ['CLIP', 'unet'] }, facets)).toEqual({
      family: ['SDXL', 'sdxl', 'Other'], subtype: ['text_encoders', 'diffusion_models'], type: [], base_model: [], tag: []
    })
  })

  test('folders below the root by their relative path, those elsewhere cannot be meant', () => {
    const app = { app: 'x', root: 'C:\\ComfyUI\\models', folders: { loras: ['C:\\ComfyUI\\models\\loras', 'D:\\more\\loras2'], vae: ['C:\\ComfyUI\\models\\loras'] } }
    expect(foldersOf(app, [{ target_subdir: 'loras/sdxl' }])).toEqual([
      { path: 'loras', inside: true, subtypes: ['loras', 'vae'] },
      { path: 'loras/sdxl', inside: true, subtypes: [] },
      { path: 'D:/more/loras2', inside: false, subtypes: [] }
    ])
  })
})
