import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createApi } from '../../web/app/api.mjs'
import { PAGE } from '../../web/app/stores/rows.mjs'
import { DEBOUNCE, createSearch } from '../../web/app/stores/search.mjs'
import { createFakeLibrarian, fakeModel } from './fake-librarian.mjs'

/** A search on a fake server whose answers can be held back. @param {number} models */
function searching(models) {
  const fake = createFakeLibrarian({ models })
  /** @type {{q: string, offset: number, let: () => void}[]} */
  const held = []
  const state = { hold: false }
  const api = createApi(/** @type {any} */ ({
    fetch: async (/** @type {string} */ path) => {
      const given = fake.handle('GET', path, null)
      const query = new URL(path, 'http://localhost').searchParams
      if (state.hold) {
        await new Promise((resolve) => held.push({ q: query.get('q') ?? '', offset: Number(query.get('offset')), let: () => resolve(null) }))
      }
      return new Response(JSON.stringify(given.body), { status: given.status })
    }
  }))
  const search = createSearch(api)
  return { fake, search, held, state, calls: () => fake.requests.filter(({ path }) => path === '/models') }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const wait = (/** @type {number} */ ms) => vi.advanceTimersByTimeAsync(ms)

describe('typing', () => {
  test('LLAMA makes exactly one request', async () => {
    const { search, calls } = searching(40)
    await search.load()
    const before = calls().length
    for (const text of ['L', 'LL', 'LLA', 'LLAM', 'LLAMA']) {
      search.setText(text)
      await wait(80)
    }
    expect(calls().length).toBe(before)
    await wait(DEBOUNCE)
    expect(calls().slice(before).map(({ query }) => query.get('q'))).toEqual(['LLAMA'])
    expect(search.get().rows.here().map((row) => row.official_name)).toEqual(['Llama-3-7b-instruct-Q4_K_M', 'Llama-3-7b-instruct-Q4_K_M_r2'])
  })

  test('rows at hand are filtered at once, while the call waits', async () => {
    const { search, calls } = searching(40)
    await search.load()
    const before = calls().length
    search.setText('llama')
    expect(search.get().atHand?.here().map((row) => row.official_name)).toEqual(['Llama-3-7b-instruct-Q4_K_M', 'Llama-3-7b-instruct-Q4_K_M_r2'])
    expect(calls().length).toBe(before)
  })

  test('case, accents and separators do not matter for rows at hand', async () => {
    const { search, fake } = searching(1)
    fake.models[0].official_name = 'Café-Diffusion_XL base'
    await search.load()
    for (const text of ['cafe', 'CAFÉ', 'xl BASE', 'diffusion xl']) {
      search.setText(text)
      expect(search.get().atHand, text).toHaveLength(1)
    }
  })

  test('a space at the end is no new question', async () => {
    const { search, calls } = searching(40)
    await search.load()
    search.setText('flux')
    await wait(DEBOUNCE)
    const before = calls().length
    search.setText('flux ')
    await wait(DEBOUNCE * 2)
    expect(calls().length).toBe(before)
  })
})

describe('answers', () => {
  test('out of order are dropped', async () => {
    const { search, held, state } = searching(40)
    await search.load()
    state.hold = true
    search.setText('flux')
    await wait(DEBOUNCE)
    search.setText('llama')
    await wait(DEBOUNCE)
    expect(held.map(({ q }) => q)).toEqual(['flux', 'llama'])
    held[1]?.let()
    await wait(0)
    held[0]?.let()
    await wait(0)
    expect(search.get().rows.at(0)?.official_name).toContain('Llama')
    expect(search.get().loading).toBe(false)
  })

  test('a late first answer does not undo what is being typed', async () => {
    const { search, held, state } = searching(40)
    state.hold = true
    void search.load()
    await wait(0)
    search.setText('x')
    held[0]?.let()
    await wait(0)
    expect(search.get().loaded).toBe(false)
  })

  test('a failure is kept, and loading again mends it', async () => {
    const { search, fake } = searching(40)
    const list = fake.routes['GET /models']
    fake.routes['GET /models'] = () => ({ status: 500, body: { title: 'Broken', code: 'storage_error', detail: 'disk image is malformed' } })
    await search.load()
    expect(search.get().error).toMatchObject({ code: 'storage_error', title: 'Broken', detail: 'disk image is malformed' })
    fake.routes['GET /models'] = /** @type {any} */ (list)
    await search.load()
    expect(search.get().error).toBeNull()
    expect(search.get().total).toBe(40)
  })
})

describe('pages', () => {
  test('are fetched where the list is looked at, each once', async () => {
    const { search, calls } = searching(1000)
    await search.load()
    search.ensure(540, 560)
    search.ensure(545, 565)
    await wait(0)
    expect(calls().map(({ query }) => Number(query.get('offset')))).toEqual([0, 5 * PAGE])
    expect(search.get().rows.at(550)?.model_id).toBe(fakeModel(550).model_id)
    expect(search.get().rows.at(250)).toBeUndefined()
    expect(search.get().total).toBe(1000)
  })

  test('a removed row leaves no hole that nobody fills', async () => {
    const { search, fake } = searching(250)
    await search.load()
    fake.handle('DELETE', `/librarian/models/${fakeModel(3).model_id}`, null)
    search.removeRow(fakeModel(3).model_id)
    expect(search.get().total).toBe(249)
    for (let at = 0; at < 249; at += 20) search.ensure(at, Math.min(248, at + 20))
    await wait(0)
    expect(Array.from({ length: 249 }, (_, at) => search.get().rows.at(at)?.model_id)).toEqual(fake.models.map((model) => model.model_id))
  })
})

describe('filters and order', () => {
  test('several values of one filter mean any of them', async () => {
    const { search, calls } = searching(40)
    search.toggleFilter('subtype', 'loras')
    search.toggleFilter('subtype', 'vae')
    await wait(0)
    expect(calls().at(-1)?.query.getAll('subtype')).toEqual(['loras', 'vae'])
    expect(new Set(search.get().rows.here().map((row) => row.subtype))).toEqual(new Set(['loras', 'vae']))
    search.clearFilter('subtype')
    await wait(0)
    expect(calls().at(-1)?.query.has('subtype')).toBe(false)
  })

  test('the order goes to the server', async () => {
    const { search, calls } = searching(40)
    search.setSort('largest')
    await wait(0)
    expect(calls().at(-1)?.query.get('sort')).toBe('size')
    expect(calls().at(-1)?.query.get('order')).toBe('desc')
  })
})

describe('the library changes', () => {
  test('an edited row changes where it stands', async () => {
    const { search, fake } = searching(40)
    await search.load()
    fake.models[2].family = 'other'
    search.libraryChanged()
    await wait(1000)
    expect(search.get().rows.at(2)?.family).toBe('other')
    expect(search.get().updateOffered).toBe(false)
  })

  test('rows never jump: what would move them is offered', async () => {
    const { search, fake } = searching(40)
    await search.load()
    fake.models.unshift({ ...fakeModel(7), model_id: 'diffusion/new/one', official_name: 'new one' })
    search.libraryChanged()
    await wait(1000)
    expect(search.get().rows.at(0)?.model_id).toBe(fakeModel(0).model_id)
    expect(search.get().updateOffered).toBe(true)
    await search.load()
    expect(search.get().rows.at(0)?.official_name).toBe('new one')
    expect(search.get().updateOffered).toBe(false)
  })

  test('a storm of events asks once', async () => {
    const { search, calls } = searching(40)
    await search.load()
    const before = calls().length
    for (let at = 0; at < 50; at += 1) search.libraryChanged()
    await wait(1000)
    expect(calls().length - before).toBe(1)
  })
})
