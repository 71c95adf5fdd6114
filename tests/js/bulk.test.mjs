import { afterEach, describe, expect, test } from 'vitest'
import { changed, inverse } from '../../web/app/stores/bulk.mjs'
import { PAGE } from '../../web/app/stores/rows.mjs'
import { PAGES_KEPT, createSearch } from '../../web/app/stores/search.mjs'
import { cardsIn } from '../../web/app/ui/model-list.mjs'
import { fakeModel, problem } from './fake-librarian.mjs'
import { openPanel, press, settle } from './panel-in-a-page.mjs'

afterEach(() => {
  localStorage.clear()
  document.body.replaceChildren()
})

/** @param {any} element @param {MouseEventInit} [how] */
const click = (element, how) => element.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, ...how }))
/** @param {any} page */
const chosen = (page) => [...page.panel.panel.selection.get().chosen.keys()]
/** @param {any} page @param {number[]} places */
async function choose(page, ...places) {
  for (const at of places) click(page.all('[role=option]')[at], { ctrlKey: true })
  await settle()
}
/** @param {any} field @param {string} value */
const fill = (field, value) => {
  field.value = value
  field.dispatchEvent(new Event('input', { bubbles: true }))
  field.dispatchEvent(new Event('change', { bubbles: true }))
}

describe('choosing several', () => {
  test('Ctrl and Shift with the mouse; a plain click still opens', async () => {
    const page = await openPanel()
    await settle()
    await choose(page, 1)
    click(page.all('[role=option]')[4], { shiftKey: true })
    await settle()
    expect(chosen(page)).toEqual([1, 2, 3, 4].map((at) => fakeModel(at).model_id))
    expect(page.all('[role=option][aria-selected=true]')).toHaveLength(4)
    expect(page.find('.lib-bulk').textContent).toContain('4 chosen · 22.5 GB')
    expect(page.find('.lib-details')).toBeNull()
    await choose(page, 2)
    expect(chosen(page)).not.toContain(fakeModel(2).model_id)
    click(page.all('[role=option]')[0])
    await settle()
    expect(page.find('.lib-details h2')?.textContent).toBe(fakeModel(0).official_name)
  })

  test('the keyboard alone: arrows, Space, Shift, Ctrl+A, Esc', async () => {
    const page = await openPanel()
    await settle()
    const list = page.find('[role=listbox]')
    press(list, 'Home')
    press(list, 'ArrowDown')
    press(list, ' ')
    await settle()
    expect(chosen(page)).toEqual([fakeModel(1).model_id])
    list.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', shiftKey: true, bubbles: true, cancelable: true }))
    await settle()
    expect(chosen(page)).toEqual([fakeModel(1).model_id, fakeModel(2).model_id])
    list.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', ctrlKey: true, bubbles: true, cancelable: true }))
    await settle()
    expect(chosen(page)).toHaveLength(40)
    press(list, 'Escape')
    await settle()
    expect(chosen(page)).toEqual([])
    expect(page.find('.lib-bulk')).toBeNull()
    press(list, 'Enter')
    await settle()
    expect(page.find('.lib-details')).not.toBeNull()
  })

  test('«Select all» takes what is found and was never fetched, in big pages', async () => {
    const page = await openPanel({ models: 2345 })
    await settle()
    await choose(page, 0)
    page.fake.requests.length = 0
    page.button('Select all 2,345').click()
    await settle()
    expect(chosen(page)).toHaveLength(2345)
    expect(page.listCalls()).toHaveLength(5)
  })
})

describe('the same for many', () => {
  test('tags: says how many get it, does it in one request, and Undo takes it only from those', async () => {
    const page = await openPanel()
    await settle()
    // The first two have no tags; the next two LoRAs have «style».
    await choose(page, 0, 1, 6, 7)
    page.button('Tag…').click()
    await settle()
    fill(page.find('.lib-dialog input[type=text]'), 'style, mine')
    click(page.all('.lib-dialog input[type=checkbox]')[1])
    await settle()
    expect(page.find('.lib-dialog').textContent).toContain('4 models get: style, mine')
    expect(page.find('.lib-dialog').textContent).toContain('2 models lose: detail')
    page.button('Change 4 models').click()
    await settle()
    expect(page.fake.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(1)
    expect(page.fake.models[6].tags).toEqual(['style', 'mine'])
    expect(page.fake.models[0].tags).toEqual(['style', 'mine'])
    expect(page.text()).toContain('4 models changed')
    page.button('Undo').click()
    await settle()
    expect([0, 1, 6, 7].map((at) => page.fake.models[at].tags.slice().sort())).toEqual([[], [], ['detail', 'style'], ['detail', 'style']])
    expect(page.text()).toContain('4 models are as they were')
  })

  test('the kind: those that are it already are left out; Undo brings each its own back', async () => {
    const page = await openPanel()
    await settle()
    await choose(page, 0, 4, 6)
    page.button('Kind…').click()
    await settle()
    fill(page.find('.lib-dialog select'), 'loras')
    await settle()
    expect(page.find('.lib-dialog').textContent).toContain('2 models become: LoRA')
    expect(page.find('.lib-dialog').textContent).toContain('1 is that already')
    page.button('Change 2 models').click()
    await settle()
    expect([0, 4, 6].map((at) => page.fake.models[at].subtype)).toEqual(['loras', 'loras', 'loras'])
    expect(page.all('[role=option]')[0]?.textContent).toContain('LoRA')
    page.button('Undo').click()
    await settle()
    expect([0, 4, 6].map((at) => page.fake.models[at].subtype)).toEqual(['checkpoints', 'diffusion_models', 'loras'])
  })

  test('what the server could not change is said, and Undo leaves it alone', async () => {
    const page = await openPanel()
    await settle()
    const [one, other] = [fakeModel(0).model_id, fakeModel(1).model_id]
    page.fake.routes['PATCH /models'] = () => ({ status: 202, body: { job: page.fake.newJob('edit', { state: 'done', result: { edited: 1, failed: 1, models: [{ model_id: one, edited: true }, { model_id: other, edited: false, code: 'storage_error', message: 'The disk is full.' }] } }) } })
    await choose(page, 0, 1)
    page.button('Kind…').click()
    await settle()
    fill(page.find('.lib-dialog select'), 'vae')
    await settle()
    page.button('Change 2 models').click()
    await settle()
    expect(page.text()).toContain('1 model changed')
    expect(page.text()).toContain('1 model was not changed')
    expect(page.text()).toContain('The disk is full.')
    page.button('Undo').click()
    await settle()
    expect(page.fake.requests.filter(({ method }) => method === 'PATCH').at(-1)?.body.model_ids).toEqual([one])
  })

  test('a change that is refused is said in the dialog, and nothing is lost', async () => {
    const page = await openPanel()
    await settle()
    page.fake.routes['PATCH /models'] = () => problem(400, 'invalid_request', 'The server does not accept this', 'A tag must not be empty.')
    await choose(page, 0)
    page.button('Tag…').click()
    await settle()
    fill(page.find('.lib-dialog input[type=text]'), 'x')
    await settle()
    page.button('Change 1 model').click()
    await settle()
    expect(page.find('.lib-dialog [role=alert]').textContent).toContain('A tag must not be empty.')
    expect(chosen(page)).toHaveLength(1)
  })

  test('delete: numbers for each choice, the trash is no Undo, and what failed stays chosen', async () => {
    const page = await openPanel()
    await settle()
    await choose(page, 0, 1, 2)
    const refused = fakeModel(2).model_id
    const usual = /** @type {any} */ (page.fake.routes['DELETE /models/*'])
    page.fake.routes['DELETE /models/*'] = (call) => (call.id === refused ? problem(507, 'storage_error', 'The disk refused', 'It is read-only.') : usual(call))
    page.button('Delete…').click()
    await settle()
    const dialog = page.find('.lib-dialog')
    expect(dialog.textContent).toContain('The files of 3 models (26.3 GB) go to the trash.')
    expect(dialog.textContent).toContain('1 of them is linked')
    expect(dialog.textContent).toContain('There is no Undo here.')
    click(dialog.querySelector('input[value=keep]'))
    await settle()
    expect(dialog.textContent).toContain('The files of 1 model (17.2 GB) stay where they are.')
    expect(dialog.textContent).toContain('2 lie in apps')
    click(dialog.querySelector('input[value=trash]'))
    await settle()
    page.button('Delete 3').click()
    await settle()
    expect(page.text()).toContain('Deleted 2 models')
    expect(page.text()).toContain('1 model was not deleted')
    expect(page.text()).toContain('It is read-only.')
    expect(chosen(page)).toEqual([refused])
    expect(page.all('[role=option]')[0]?.textContent).toContain(fakeModel(2).official_name)
    expect(() => page.button('Undo')).toThrow()
  })

  test('link: what is in the library is previewed, what is in place needs none', async () => {
    const page = await openPanel()
    await settle()
    await choose(page, 0, 1, 3)
    page.button('Link…').click()
    await settle()
    const asked = page.fake.requests.find(({ path }) => path === '/mappings/preview')
    expect(asked?.body.model_ids).toEqual([fakeModel(0).model_id, fakeModel(3).model_id])
    const dialog = page.find('.lib-dialog')
    expect(dialog.textContent).toContain('3 links are created.')
    expect(dialog.textContent).toContain('3 places are taken.')
    expect(dialog.textContent).toContain('1 chosen model lies in place')
    page.button('Apply 4 changes').click()
    await settle()
    expect(page.fake.requests.at(-1)?.body ?? page.fake.requests.find(({ path }) => path === '/mappings/apply')?.body).toBeDefined()
    expect(page.fake.requests.find(({ path }) => path === '/mappings/apply')?.body).toEqual({ plan_id: 'p1', resolutions: {}, default_resolution: 'skip' })
  })

  test('adopt: only what is in place, by the paths of its files; pickles wait for a yes', async () => {
    const page = await openPanel()
    await settle()
    // 16 is a pickle in place, 1 a safe file in place, 0 is in the library already.
    await choose(page, 0, 1)
    page.panel.panel.selection.toggle(fakeModel(16))
    await settle()
    page.button('Adopt…').click()
    await settle()
    const confirm = page.button('Adopt 2')
    expect(confirm.disabled).toBe(true)
    expect(page.find('.lib-dialog').textContent).toContain('1 is in the library already.')
    click(page.find('.lib-dialog input[type=checkbox]'))
    await settle()
    confirm.click()
    await settle()
    expect(page.fake.requests.find(({ path }) => path === '/imports')?.body.items).toEqual([
      { paths: [`/srv/models/checkpoints/${fakeModel(1).file_name}`], mode: 'adopt', acknowledge_pickle: false },
      { paths: [`/srv/models/upscale_models/${fakeModel(16).file_name}`], mode: 'adopt', acknowledge_pickle: true }
    ])
  })
})

test('what brings values back: few steps, and only what came or went', () => {
  const rows = [{ model_id: 'a', tags: ['x'] }, { model_id: 'b', tags: [] }, { model_id: 'c' }]
  const change = { add_tags: ['x', 'y'], remove_tags: ['z'] }
  const steps = inverse(rows, change)
  expect(steps.map(({ rows: some, change: back }) => [some.map(({ model_id }) => model_id), back])).toEqual([
    [['a'], { remove_tags: ['y'] }],
    [['b', 'c'], { remove_tags: ['x', 'y'] }]
  ])
  for (const step of steps) for (const row of step.rows) expect(changed(changed(row, change), step.change).tags).toEqual(row.tags ?? [])
})

describe('grid and memory', () => {
  test('the grid is kept, has the same keys, and few cards', async () => {
    const page = await openPanel({ models: 10_000 })
    await settle()
    page.button('Show as a grid of previews').click()
    await settle()
    expect(page.all('.lib-card').length).toBeGreaterThan(3)
    expect(page.all('.lib-card').length).toBeLessThan(200)
    const list = page.find('[role=listbox]')
    press(list, 'Home')
    press(list, 'ArrowRight')
    press(list, 'ArrowDown')
    await settle()
    expect(page.panel.panel.search.get().activeId).toBe(fakeModel(1 + cardsIn(320).columns).model_id)
    page.panel.panel.view.setGrid(true)
    const again = await openPanel()
    await settle()
    expect(again.all('.lib-card').length).toBeGreaterThan(3)
  })

  test('cards fit a panel of 280 pixels and one of 1,000', () => {
    for (const width of [280, 420, 1000]) {
      const { columns, card } = cardsIn(width)
      expect(columns).toBeGreaterThanOrEqual(2)
      expect(card * columns + 8 * (columns + 1)).toBeCloseTo(width)
      expect(card).toBeGreaterThanOrEqual(104)
    }
  })

  test('a list of 100,000 that was scrolled through keeps a few thousand rows', async () => {
    const total = 100_000
    const get = async (/** @type {string} */ path) => {
      const offset = Number(new URLSearchParams(path.split('?')[1]).get('offset'))
      return { models: Array.from({ length: PAGE }, (_, at) => ({ model_id: `m${offset + at}` })), total, match: 'list' }
    }
    const search = createSearch(/** @type {any} */ ({ get }))
    await search.load()
    for (let at = 0; at < total; at += 1000) {
      search.ensure(at, at + 20)
      await settle()
    }
    const rows = search.get().rows
    expect(rows.length).toBeGreaterThan(1000)
    expect(rows.length).toBeLessThanOrEqual((PAGES_KEPT + 2) * PAGE)
    expect(rows.at(99_010)?.model_id).toBe('m99010')
    expect(rows.at(0)?.model_id).toBe('m0')
    expect(rows.at(50_000)).toBeUndefined()
    search.ensure(50_000, 50_020)
    await settle()
    expect(search.get().rows.at(50_010)?.model_id).toBe('m50010')
  })
})
