import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CALM } from '../../web/app/ui/film.mjs'
import { fakeModel, fakeRecord } from './fake-librarian.mjs'
import { openPanel, settle } from './panel-in-a-page.mjs'

/** What was asked of films: they neither load nor play here. */
const asked = { play: 0, pause: 0, released: 0 }
let still = false
/** What waits for a film's moment of calm, by made-up numbers: no test waits for a clock. @type {Map<number, () => void>} */
const held = new Map()

beforeEach(() => {
  Object.assign(asked, { play: 0, pause: 0, released: 0 })
  still = false
  held.clear()
  const { setTimeout, clearTimeout } = globalThis
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(/** @type {any} */ ((/** @type {any} */ run, /** @type {number} */ ms, /** @type {any[]} */ ...more) => {
    if (ms !== CALM) return setTimeout(run, ms, ...more)
    held.set(-1 - held.size, run)
    return -held.size
  }))
  vi.spyOn(globalThis, 'clearTimeout').mockImplementation((timer) => void (held.delete(Number(timer)) || clearTimeout(timer)))
  vi.spyOn(HTMLMediaElement.prototype, 'play').mockImplementation(async () => void (asked.play += 1))
  vi.spyOn(HTMLMediaElement.prototype, 'pause').mockImplementation(() => void (asked.pause += 1))
  vi.spyOn(HTMLMediaElement.prototype, 'load').mockImplementation(/** @this {HTMLMediaElement} */ function load() {
    if (!this.hasAttribute('src')) asked.released += 1
  })
  const real = window.matchMedia.bind(window)
  vi.spyOn(window, 'matchMedia').mockImplementation((query) => (query.includes('prefers-reduced-motion') ? /** @type {any} */ ({ matches: still }) : real(query)))
})

afterEach(() => {
  vi.restoreAllMocks()
  localStorage.clear()
  document.body.replaceChildren()
})

/** A panel of which the first model is shown by a film. */
async function openFilms() {
  const film = { ...fakeModel(0), preview_url: 'librarian/previews/x?v=1v', preview_is_video: true }
  const page = await openPanel({
    models: 3,
    prepare: (fake) => {
      const usual = /** @type {any} */ (fake.routes['GET /models'])
      const rows = [film, fakeModel(1)]
      fake.routes['GET /models'] = (call) => ({ status: 200, body: { ...usual?.(call)?.body, models: rows, total: rows.length, match: 'list', query_time_ms: 0 } })
      fake.routes[`GET /models/${film.model_id}`] = () => ({ status: 200, body: fakeRecord(film) })
    }
  })
  await vi.waitFor(() => expect(held.size).toBe(1))
  return page
}

/** Point at a model, once its film listens. @param {any} row */
const pointAt = (row) =>
  vi.waitFor(() => {
    row.dispatchEvent(new Event('pointerenter'))
    expect(asked.play).toBe(1)
  })

async function calm() {
  for (const [timer, run] of [...held]) {
    held.delete(timer)
    run()
  }
  await settle()
}

describe('a model that is shown by a film', () => {
  test('loads it in a list only after a moment, and plays it while one points at the model', async () => {
    const page = await openFilms()
    expect(page.find('.lib-row .lib-tile .lib-icon')).not.toBeNull()
    expect(page.find('video')).toBeNull()
    await calm()
    const film = page.find('.lib-row video')
    expect(film.getAttribute('src')).toBe('http://localhost/librarian/previews/x?v=1v')
    expect([film.getAttribute('preload'), film.hasAttribute('autoplay'), film.muted]).toEqual(['metadata', false, true])
    expect(asked.play).toBe(0)
    const row = film.closest('[role=option]')
    await pointAt(row)
    row.dispatchEvent(new Event('pointerleave'))
    expect(asked.pause).toBe(1)
    still = true
    row.dispatchEvent(new Event('pointerenter'))
    expect(asked.play).toBe(1)
  })

  test('loads nothing of what is scrolled past, and lets go of what was loaded', async () => {
    const page = await openFilms()
    const film = fakeModel(0).model_id
    page.panel.panel.search.removeRow(film)
    await settle()
    expect(held.size).toBe(0)
    await calm()
    expect(page.all('.lib-row')).toHaveLength(1)
    expect(page.find('video')).toBeNull()

    const other = await openFilms()
    await calm()
    await pointAt(other.find('.lib-row video').closest('[role=option]'))
    other.panel.panel.search.removeRow(film)
    await settle()
    expect(other.find('video')).toBeNull()
    expect(asked.released).toBe(1)
  })

  test.each([[false, true], [true, false]])('in its details, with less motion wanted: %s, it plays by itself: %s', async (reduced, plays) => {
    still = reduced
    const page = await openFilms()
    page.find('.lib-row').click()
    await settle()
    const film = page.find('.lib-details video.lib-film')
    expect([film.hasAttribute('autoplay') || film.autoplay === true, film.muted, film.loop, film.hasAttribute('controls') || film.controls]).toEqual([plays, true, true, true])
    expect(film.getAttribute('aria-label')).toBe('Video that shows this model')
    expect(page.all('.lib-details video')).toHaveLength(1)
    expect(page.find('.lib-details [aria-hidden=true] video')).toBeNull()
    film.dispatchEvent(new Event('error'))
    await settle()
    expect(page.find('.lib-details video')).toBeNull()
  })

  test('that cannot be loaded is shown by its kind', async () => {
    const page = await openFilms()
    await calm()
    page.find('.lib-row video').dispatchEvent(new Event('error'))
    await settle()
    expect(page.find('.lib-row .lib-tile .lib-icon')).not.toBeNull()
    expect(page.find('video')).toBeNull()
  })
})
