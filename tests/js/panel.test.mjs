import { afterEach, describe, expect, test, vi } from 'vitest'
import { DEBOUNCE } from '../../web/app/stores/search.mjs'
import { fakeModel, problem } from './fake-librarian.mjs'
import { openPanel, press, settle, type } from './panel-in-a-page.mjs'

afterEach(() => {
  vi.useRealTimers()
  document.body.replaceChildren()
})

const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** @param {any} page @param {string} modelId */
async function openDetails(page, modelId) {
  page.panel.panel.details.open(modelId)
  await settle()
}

describe('the list', () => {
  test('shows what one owns, and draws only what is in sight', async () => {
    const page = await openPanel({ models: 10_000 })
    await settle()
    expect(page.text()).toContain('10,000 models')
    expect(page.text()).toContain('flux1-dev-fp8')
    expect(page.all('[role=option]').length).toBeGreaterThan(5)
    expect(page.all('.lib-row').length).toBeLessThan(200)
  })

  test('typing LLAMA asks once and ends with what was typed', async () => {
    const page = await openPanel()
    await settle()
    const before = page.listCalls().length
    type(page.find('[data-lib-search]'), 'LLAMA')
    await later(DEBOUNCE + 50)
    await settle()
    expect(page.listCalls().slice(before)).toEqual(['LLAMA'])
    expect(page.all('[role=option]').map((row) => row.querySelector('.lib-row-name')?.textContent)).toEqual([
      'Llama-3-7b-instruct-Q4_K_M',
      'Llama-3-7b-instruct-Q4_K_M_r2'
    ])
  })

  test('the keyboard alone: slash, arrows, Enter, Esc and back', async () => {
    const page = await openPanel()
    await settle()
    press(document.body, '/')
    await later(30)
    const field = page.find('[data-lib-search]')
    expect(document.activeElement).toBe(field)
    press(field, 'ArrowDown')
    press(field, 'ArrowDown')
    await settle()
    expect(page.find('[aria-selected=true]')?.textContent).toContain(fakeModel(1).official_name)
    press(field, 'Enter')
    await settle()
    expect(page.find('.lib-details h2')?.textContent).toBe(fakeModel(1).official_name)
    press(page.find('.lib-details'), 'Escape')
    await settle()
    expect(page.find('.lib-details')).toBeNull()
    type(field, 'flux')
    press(field, 'Escape')
    await settle()
    expect(field.value).toBe('')
  })

  test('in ComfyUI Enter adds a loader for the model to the graph', async () => {
    const page = await openPanel({ inComfyUI: true })
    await settle()
    page.panel.panel.search.setActive(fakeModel(6).model_id)
    press(page.find('[data-lib-search]'), 'Enter')
    await settle()
    expect(page.added).toEqual([{ nodeId: 'LibrarianLoadLora', widgets: { model_id: fakeModel(6).model_id } }])
  })

  test('«Best match» is an order only while something is searched for', async () => {
    const page = await openPanel()
    await settle()
    const orders = async () => {
      page.find('.lib-sort').click()
      await settle()
      const items = page.all('[role=menuitemradio]')
      const told = { all: items.map(({ textContent }) => textContent?.trim()), on: items.filter((one) => one.getAttribute('aria-checked') === 'true').map(({ textContent }) => textContent?.trim()) }
      page.find('.lib-sort').click()
      await settle()
      return told
    }
    const before = await orders()
    expect(before.all).not.toContain('Best match')
    expect(before.on).toEqual(['Newest'])
    type(page.find('[data-lib-search]'), 'llama')
    await settle()
    expect((await orders()).on).toEqual(['Best match'])
  })

  test('nothing found says so, and how to go on', async () => {
    const page = await openPanel()
    await settle()
    type(page.find('[data-lib-search]'), 'zzz')
    await later(DEBOUNCE + 50)
    await settle()
    expect(page.text()).toContain('Nothing found')
    page.all('.lib-empty button')[0]?.click()
    await settle()
    expect(page.all('[role=option]').length).toBeGreaterThan(5)
  })

  test('no models at all: what is indexed, and one next step', async () => {
    const page = await openPanel({ models: 0 })
    await settle()
    expect(page.text()).toContain('No models yet')
    page.button('Import models').click()
    await settle()
    expect(page.find('#lib-import-paths')).not.toBeNull()
  })

  test('a closed tab opens as it was left', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(2).model_id)
    const asked = page.listCalls().length
    page.panel.unmount(page.element)
    expect(page.element.textContent).toBe('')
    await page.panel.mount(page.element)
    await settle()
    expect(page.find('.lib-details h2')?.textContent).toBe(fakeModel(2).official_name)
    expect(page.listCalls().length).toBe(asked)
  })
})

describe('when something fails', () => {
  test('the list says what, and Retry mends it', async () => {
    const page = await openPanel({
      prepare: (fake) => {
        const list = fake.routes['GET /models']
        let times = 0
        fake.routes['GET /models'] = (call) => (times++ ? /** @type {any} */ (list)(call) : problem(500, 'storage_error', 'The index could not be read', 'disk image is malformed'))
      }
    })
    await settle()
    const alert = page.find('[role=alert]')
    expect(alert.textContent).toContain('The models could not be listed')
    expect(alert.textContent).toContain('disk image is malformed')
    expect(alert.textContent).toContain('storage_error')
    page.button('Retry').click()
    await settle()
    expect(page.find('[role=alert]')).toBeNull()
    expect(page.all('[role=option]').length).toBeGreaterThan(5)
  })

  test('a server that is gone is said, what is shown stays, and its return mends all', async () => {
    const page = await openPanel()
    await settle()
    page.network.down = true
    await page.panel.panel.status.load()
    await settle()
    expect(page.find('[data-banner=unreachable]').textContent).toContain('Librarian does not answer')
    expect(page.all('[role=option]').length).toBeGreaterThan(5)
    page.network.down = false
    page.button('Retry').click()
    await settle()
    expect(page.find('[data-banner=unreachable]')).toBeNull()
  })

  test('no server from the start: said without any locale, and Retry brings all', async () => {
    const page = await openPanel({ down: true })
    await settle()
    expect(page.find('[role=alert]').textContent).toContain('Librarian does not answer')
    page.network.down = false
    page.button('Retry').click()
    await settle()
    expect(page.all('[role=option]').length).toBeGreaterThan(5)
  })

  test('it is said in the person’s language as far as there are words for it', async () => {
    const page = await openPanel({
      language: 'zh-CN',
      prepare: (fake) => (fake.routes['GET /models'] = () => problem(500, 'storage_error', 'The disk refused', 'disk image is malformed'))
    })
    await settle()
    expect(page.find('.lib').lang).toBe('zh-CN')
    expect(page.find('[role=alert]').textContent).toContain('磁盘拒绝了操作 · disk image is malformed')
    expect(page.find('[role=alert]').textContent).not.toContain('The disk refused')
    // Nothing to choose among, nothing to lay out.
    expect(page.all('.lib-result-line > .lib-icon-button')).toHaveLength(0)
  })

  test('one reason is given once: of a download and the import that it is', async () => {
    const page = await openPanel()
    await settle()
    const { toast } = page.panel.panel
    toast('error', 'Import: failed', 'x.safetensors is damaged.')
    toast('error', 'Download: failed', 'x.safetensors is damaged.')
    toast('error', 'Scan: failed', 'Another reason.')
    await settle()
    expect(page.all('.lib-toast strong').map(({ textContent }) => textContent)).toEqual(['Download: failed', 'Scan: failed'])
  })

  test('details that are gone say so', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, 'diffusion/flux/gone')
    expect(page.find('.lib-details [role=alert]').textContent).toContain('The details could not be fetched')
    expect(page.find('.lib-details [role=alert]').textContent).toContain('There is no such model')
  })
})

describe('banners', () => {
  /** @param {any} change */
  const withStatus = async (change) => {
    const page = await openPanel()
    await settle()
    page.event('librarian.status', { ...page.fake.status(), ...change })
    await settle()
    return page
  }

  test('offline, with the seconds left', async () => {
    const page = await withStatus({ network: { offline: true, hosts: [{ host: 'huggingface.co', state: 'open', failures: 3, retry_after_s: 47 }], rate_limit: null } })
    expect(page.find('[data-banner=offline]').textContent).toMatch(/Using cached data \(offline\).*47 s/)
  })

  test('indexing, in numbers', async () => {
    const page = await withStatus({ index: { state: 'indexing', progress: { current: 1204, total: 9800 } } })
    expect(page.find('[data-banner=indexing]').textContent).toContain('Indexing… 1,204 of 9,800')
  })

  test('rate limit', async () => {
    const page = await withStatus({ network: { offline: false, hosts: [], rate_limit: { host: 'huggingface.co', remaining: 31, limit: 500, reset_s: 60, near_limit: true } } })
    expect(page.find('[data-banner=rate-limit]').textContent).toMatch(/Rate limit nearly used.*31 of 500/)
  })
})

describe('details', () => {
  test('publishers’ text is shown as text', async () => {
    const page = await openPanel({
      prepare: (fake) => {
        fake.models[0].official_name = '<img src=x onerror=alert(1)>'
        fake.models[0].tags = ['<script>alert(1)</script>']
      }
    })
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    expect(page.find('.lib-details h2').textContent).toBe('<img src=x onerror=alert(1)>')
    expect(page.all('.lib-details img, .lib-details script')).toEqual([])
  })

  test('a download address that is no web address is no link', async () => {
    const page = await openPanel({
      prepare: (fake) => {
        const record = fake.routes['GET /models/*']
        fake.routes['GET /models/*'] = (call) => {
          const given = /** @type {any} */ (record)(call)
          return { ...given, body: { ...given.body, download_url: 'javascript:alert(1)', repo_id: 'a/b?x' } }
        }
      }
    })
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    expect(page.all('.lib-details a')).toEqual([])
  })

  test('a fact is edited in place and the list follows', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button(/^Family: flux/).click()
    await settle()
    const input = page.find('.lib-editing input')
    input.value = 'flux-dev'
    input.dispatchEvent(new Event('input', { bubbles: true }))
    await settle()
    press(input, 'Enter')
    await settle()
    expect(page.fake.requests.find(({ method }) => method === 'PATCH')).toMatchObject({ path: `/models/${fakeModel(0).model_id}`, body: { family: 'flux-dev' } })
    expect(page.button(/^Family: flux-dev/)).toBeTruthy()
    expect(page.panel.panel.search.get().rows.at(0)?.family).toBe('flux-dev')
  })

  test('its folder opens on this machine’s desktop, or the panel says why not', async () => {
    let answer = /** @type {any} */ ({ status: 200, body: { path: '/srv/x' } })
    const page = await openPanel({
      prepare: (fake) => {
        const record = fake.routes['GET /models/*']
        fake.routes['GET /models/*'] = (call) => {
          const given = /** @type {any} */ (record)(call)
          return { ...given, body: { ...given.body, can_show: given.body.model_id === fakeModel(0).model_id } }
        }
        fake.routes['POST /models/*'] = () => answer
      }
    })
    await settle()
    await openDetails(page, fakeModel(1).model_id)
    expect(() => page.button('Open folder')).toThrow('there is no button')
    await openDetails(page, fakeModel(0).model_id)
    page.button('Open folder').click()
    await settle()
    expect(page.fake.requests.at(-1)).toMatchObject({ method: 'POST', path: `/models/${fakeModel(0).model_id}/show` })
    answer = problem(409, 'no_desktop', 'Things have changed', 'Copy the path instead.')
    page.button('Open folder').click()
    await settle()
    expect(page.find('.lib-toasts').textContent).toContain('Copy the path instead.')
  })

  test('Esc leaves a fact as it was, and the sheet open', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button(/^Family: flux/).click()
    await settle()
    press(page.find('.lib-editing input'), 'Escape')
    await settle()
    expect(page.find('.lib-editing')).toBeNull()
    expect(page.find('.lib-details')).not.toBeNull()
    expect(page.fake.requests.some(({ method }) => method === 'PATCH')).toBe(false)
  })

  test('what could not be saved says why and keeps the draft', async () => {
    const page = await openPanel({ prepare: (fake) => (fake.routes['PATCH /models/*'] = () => problem(409, 'conflict', 'Changed meanwhile')) })
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button(/^Family: flux/).click()
    await settle()
    const input = page.find('.lib-editing input')
    input.value = 'mine'
    input.dispatchEvent(new Event('input', { bubbles: true }))
    await settle()
    press(input, 'Enter')
    await settle()
    expect(page.find('.lib-editing [role=alert]').textContent).toContain('Changed meanwhile')
    expect(page.find('.lib-editing input').value).toBe('mine')
  })

  test('a lookup shows candidates with trust badges; one is applied', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(2).model_id)
    page.button('Look up').click()
    await settle()
    expect(page.all('.lib-candidate .lib-badge').map((badge) => badge.textContent?.trim())).toEqual(['Verified', 'Modified version', 'Low confidence'])
    page.button('Apply').click()
    await settle()
    expect(page.find('.lib-identity-badges').textContent).toContain('Verified')
    expect(page.panel.panel.search.get().rows.at(2)?.match_method).toBe('hash')
  })

  test('a pickle is vouched for once, in its details', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    expect(page.find('.lib-acknowledge')).toBeNull()
    await openDetails(page, fakeModel(16).model_id)
    const trust = page.find('.lib-acknowledge input')
    expect(trust.checked).toBe(false)
    trust.click()
    await settle()
    expect(page.fake.requests.at(-1)).toMatchObject({ method: 'PATCH', body: { pickle_acknowledged: true } })
  })

  test('what was found in a pickle is shown, dangerous names first, as text', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(16).model_id)
    expect(page.find('.lib-pickle').dataset.state).toBe('not_scanned')
    expect(page.find('.lib-pickle').textContent).toContain('was not looked into yet')

    Object.assign(page.fake.models.find((model) => model.model_id === fakeModel(16).model_id), {
      pickle_state: 'dangerous',
      pickle_scan: {
        state: 'dangerous',
        message: null,
        globals: [
          { module: 'posix', name: 'system', severity: 'dangerous' },
          { module: '<img src=x onerror=alert(1)>', name: 'x', severity: 'unknown' },
          { module: 'collections', name: 'OrderedDict', severity: 'harmless' }
        ]
      }
    })
    await openDetails(page, fakeModel(0).model_id)
    await openDetails(page, fakeModel(16).model_id)
    const note = page.find('.lib-pickle')
    expect(note.querySelector('[role=alert]')?.textContent).toContain('can run commands')
    expect([...note.querySelectorAll('code')].map((/** @type {any} */ code) => code.textContent)).toEqual(['posix.system', '<img src=x onerror=alert(1)>.x'])
    expect(note.querySelector('img')).toBeNull()
    expect(note.textContent).toContain('1 name of what model files hold')
    expect(note.textContent).toContain('only if you know why')
    expect(page.find('.lib-identity-badges').textContent).toContain('dangerous')
  })

  test('«Add to graph» is there for what has a loader, and only in ComfyUI', async () => {
    const standalone = await openPanel()
    await settle()
    await openDetails(standalone, fakeModel(6).model_id)
    expect(() => standalone.button('Add to graph')).toThrow()
    const page = await openPanel({ inComfyUI: true })
    await settle()
    await openDetails(page, fakeModel(16).model_id)
    page.button('Add to graph').click()
    await settle()
    expect(page.added).toEqual([{ nodeId: 'LibrarianLoadUpscaleModel', widgets: { model_id: fakeModel(16).model_id } }])
    await openDetails(page, fakeModel(10).model_id)
    expect(() => page.button('Add to graph')).toThrow()
  })
})

describe('deleting', () => {
  test('says in numbers what will happen, for each choice', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button('Delete').click()
    await settle()
    const said = () => page.find('.lib-consequences').textContent
    expect(said()).toContain('2 links are removed.')
    expect(said()).toContain('1 file (17.2 GB) goes to the trash.')
    page.find('input[value=keep]').click()
    await settle()
    expect(said()).toContain('1 file (17.2 GB) stays where it is.')
    page.find('input[value=permanent]').click()
    await settle()
    expect(said()).toContain('deleted for good')
    expect(page.fake.requests.some(({ method }) => method === 'DELETE')).toBe(false)
  })

  test('does it, closes the sheet and takes the row away', async () => {
    const page = await openPanel()
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button('Delete').click()
    await settle()
    page.find('.lib-dialog-actions .lib-button-danger').click()
    await settle()
    const call = page.fake.requests.find(({ method }) => method === 'DELETE')
    expect(call?.query.get('files')).toBe('trash')
    expect(page.find('.lib-details')).toBeNull()
    expect(page.panel.panel.search.get().total).toBe(39)
    expect(page.refreshed.times).toBe(1)
  })

  test('a refusal is said in the dialog', async () => {
    const page = await openPanel({ prepare: (fake) => (fake.routes['DELETE /models/*'] = () => problem(500, 'storage_error', 'The disk refused', 'Permission denied')) })
    await settle()
    await openDetails(page, fakeModel(0).model_id)
    page.button('Delete').click()
    await settle()
    page.find('.lib-dialog-actions .lib-button-danger').click()
    await settle()
    expect(page.find('.lib-dialog [role=alert]').textContent).toContain('Permission denied')
    expect(page.find('.lib-details')).not.toBeNull()
  })
})
