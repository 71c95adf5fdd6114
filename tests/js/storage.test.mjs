import { afterEach, describe, expect, test, vi } from 'vitest'
import { createStorage, wayOf } from '../../web/app/stores/storage.mjs'
import { problem } from './fake-librarian.mjs'
import { openPanel, settle } from './panel-in-a-page.mjs'

afterEach(() => {
  localStorage.clear()
  document.body.replaceChildren()
})

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function openStorage(options) {
  const page = await openPanel(options)
  await settle()
  page.button('Storage').click()
  await settle()
  return page
}

describe('what takes the room', () => {
  test('by drive, kind and family, in numbers; a kind leads to its models', async () => {
    const page = await openStorage()
    expect(page.find('[data-chart=drive]').textContent).toContain('/mnt/two')
    expect(page.find('[data-chart=drive]').textContent).toContain('812 GB free of 4 TB')
    const bars = page.all('[data-chart=type] .lib-bar').map((bar) => bar.textContent?.replace(/\s+/g, ' ').trim())
    expect(bars[0]).toContain('Checkpoint')
    expect(bars[0]).toMatch(/66\.8 GB · 8 models/)
    expect(page.all('[data-chart=largest] li')).toHaveLength(10)
    page.find('[data-chart=type] button').click()
    await settle()
    expect(page.panel.panel.search.get().filters).toEqual({ subtype: ['checkpoints'] })
    expect(page.text()).toContain('8 found')
  })

  test('nothing there, and nobody answers, are both said', async () => {
    const page = await openStorage({ models: 0 })
    expect(page.text()).toContain('Nothing takes room yet')
    const other = await openStorage({ prepare: (fake) => void (fake.routes['GET /storage'] = () => problem(500, 'internal_error', 'It broke')) })
    expect(other.text()).toContain('What takes the room could not be asked')
    delete other.fake.routes['GET /storage']
    other.fake.routes['GET /storage'] = () => ({ status: 200, body: { size_bytes: 0, by_type: [], by_family: [], by_drive: [] } })
    other.button('Retry').click()
    await settle()
    expect(other.text()).toContain('Nothing takes room yet')
  })

  test('while hashes are not known, what is hashed is shown', async () => {
    const page = await openStorage({
      prepare: (fake) => {
        fake.routes['GET /duplicates'] = () => ({ status: 200, body: { groups: [], bytes_to_win: 0, files_to_hash: 41 } })
        fake.newJob('hash', { progress: { current: 3_000_000_000, total: 9_000_000_000, unit: 'bytes' } })
      }
    })
    expect(page.text()).toContain('None known so far.')
    expect(page.text()).toContain('Comparing files of the same size in the background')
    expect(page.text()).toContain('3 GB of 9 GB')
  })
})

describe('links in the place of copies', () => {
  test('only what a link can replace counts', () => {
    const file = (/** @type {string} */ path, /** @type {string} */ storage, model_format = 'single-file') => ({ path, storage, model_format, model_id: path, official_name: path, security_tier: 'safe' })
    const way = (/** @type {any[]} */ ...files) => {
      const { keeper, moves, copies, left } = wayOf({ sha256: '', size_bytes: 1, bytes_to_win: 1, to_share: 0, files })
      return [keeper?.path ?? null, moves, copies.map(({ path }) => path), left.map(({ path }) => path)]
    }
    expect(way(file('a', 'in-place'), file('b', 'owned'), file('c', 'owned'))).toEqual(['b', false, ['a'], ['c']])
    expect(way(file('a', 'in-place'), file('b', 'in-place'))).toEqual(['a', true, ['b'], []])
    expect(way(file('a', 'owned'), file('b', 'owned'))).toEqual([null, false, [], ['a', 'b']])
    expect(way(file('a', 'owned', 'diffusion-folder'), file('b', 'in-place'))).toEqual([null, false, [], ['a', 'b']])
  })

  test('a preview in numbers; then the plan for what lies where a link belongs, adoption for the rest', async () => {
    const page = await openStorage({
      prepare: (fake) => {
        const usual = /** @type {any} */ (fake.routes['POST /mappings/preview'])
        fake.routes['POST /mappings/preview'] = (call) => {
          const plan = usual(call)
          plan.body = { ...plan.body, to_create: [], broken_to_remove: [], conflicts: [{ target: '/home/me/ComfyUI/models/checkpoints/sd_xl_base_1.0_0.9vae.safetensors', reason: 'same_bytes', size_bytes: 6_938_078_334, existing: 'file' }, { target: '/home/me/other.safetensors', reason: 'file_exists', existing: 'file' }] }
          return plan
        }
      }
    })
    expect(page.text()).toContain('3 copies could be links: 13.9 GB would come free.')
    page.button('Replace copies by links…').click()
    await settle()
    const dialog = page.find('.lib-dialog')
    expect(dialog.textContent).toContain('3 copies become links. 13.9 GB come free.')
    expect(dialog.textContent).toContain('1 file moves into the library first.')
    expect(page.fake.requests.some(({ path }) => path === '/mappings/apply' || path === '/imports')).toBe(false)
    expect(page.button('Replace 3 copies').disabled).toBe(true)
    dialog.querySelector('input[type=checkbox]').click()
    await settle()
    page.button('Replace 3 copies').click()
    await settle()
    const call = (/** @type {string} */ path) => page.fake.requests.find((one) => one.path === path)?.body
    expect(call('/mappings/apply')).toEqual({ plan_id: 'p1', resolutions: { '/home/me/ComfyUI/models/checkpoints/sd_xl_base_1.0_0.9vae.safetensors': 'overwrite' }, default_resolution: 'skip' })
    expect(call('/imports')).toEqual({
      items: [
        { paths: ['/home/me/ComfyUI/models/upscale_models/RealESRGAN_x4.pth'], mode: 'adopt', acknowledge_pickle: true },
        { paths: ['/mnt/two/forge/models/Stable-diffusion/sdxl-base.safetensors'], mode: 'adopt', acknowledge_pickle: false },
        { paths: ['/mnt/two/forge/models/ESRGAN/RealESRGAN_x4.pth'], mode: 'adopt', acknowledge_pickle: true }
      ],
      delete_originals: false, link: false
    })
    // One of the three could not be replaced; what became of all is read from the index.
    page.fake.routes['GET /duplicates'] = () => ({ status: 200, body: { groups: [{ sha256: 'b2', size_bytes: 67_040_989, bytes_to_win: 67_040_989, files: [{ model_id: 'x', path: '/mnt/two/forge/models/ESRGAN/RealESRGAN_x4.pth', storage: 'in-place', official_name: 'RealESRGAN_x4', model_format: 'single-file', security_tier: 'pickle' }] }], bytes_to_win: 0, files_to_hash: 0 } })
    for (const job of page.fake.jobs) {
      Object.assign(job, { state: 'done', items: job.kind === 'import' ? [{ name: 'RealESRGAN_x4.pth', state: 'failed', message: 'The folder is read-only.' }] : [] })
      page.event('librarian.job', { ...job })
      await settle()
    }
    expect(page.text()).toContain('2 copies are links now. 13.9 GB came free.')
    expect(page.text()).toContain('1 copy is still there.')
    expect(page.text()).toContain('RealESRGAN_x4.pth: The folder is read-only.')
  })

  describe('what became of it', () => {
    const file = (/** @type {string} */ path) => ({ model_id: path, path, storage: 'in-place', official_name: path, model_format: 'single-file', security_tier: 'safe' })
    const twice = { groups: [{ sha256: 'aa', size_bytes: 10, bytes_to_win: 10, files: [file('/one'), file('/two')] }], bytes_to_win: 10, files_to_hash: 0 }
    const once = { groups: [], bytes_to_win: 0, files_to_hash: 0 }
    const job = /** @type {any} */ ({ id: 'j1', kind: 'import', state: 'done', items: [] })

    /** A store of which a replacement has just ended, and its questions about copies, to be answered by hand.
     * @param {{late?: boolean}} [options] `late`: the answer that it was begun came after its end */
    async function replaced({ late = false } = {}) {
      /** @type {{answer: (body: any) => void, fail: (error: Error) => void}[]} */
      const asked = []
      const api = /** @type {any} */ ({
        get: (/** @type {string} */ path) => path !== '/duplicates' ? Promise.resolve({ models: [] }) : new Promise((answer, fail) => asked.push({ answer, fail })),
        post: async () => ({ job })
      })
      const storage = createStorage(api, { started: () => (late ? job : { ...job, state: 'running' }), jobs: { find: () => job } })
      const first = storage.load()
      asked.shift()?.answer(twice)
      await first
      await storage.prepare(/** @type {any} */ (twice.groups))
      if (late) storage.ended(job)
      await storage.replace(false)
      if (!late) storage.ended(job)
      return { storage, asked }
    }

    afterEach(() => void vi.useRealTimers())

    test('is never read from what was there before, however late the answers come', async () => {
      vi.useFakeTimers()
      const { storage, asked } = await replaced()
      storage.changed()
      await vi.advanceTimersByTimeAsync(2000)
      expect(asked).toHaveLength(2)
      asked[0]?.answer(once)
      await vi.advanceTimersByTimeAsync(0)
      expect(storage.get().outcome).toBeNull()
      asked[1]?.answer(once)
      await vi.advanceTimersByTimeAsync(0)
      expect(storage.get().outcome).toMatchObject({ replaced: 1, bytes: 10, remaining: [] })
      expect(storage.get().jobIds).toEqual([])
    })

    test('is told of what was over before anybody waited for it', async () => {
      const { storage, asked } = await replaced({ late: true })
      asked[0]?.answer(once)
      await settle()
      expect(storage.get()).toMatchObject({ jobIds: [], outcome: { replaced: 1, remaining: [] } })
    })

    test('is told once it can be asked', async () => {
      const { storage, asked } = await replaced()
      asked[0]?.fail(new Error('nobody there'))
      await settle()
      expect(storage.get()).toMatchObject({ outcome: null, duplicatesError: { message: 'nobody there' } })
      const again = storage.load()
      asked[1]?.answer(twice)
      await again
      expect(storage.get().outcome).toMatchObject({ replaced: 0, remaining: ['/two'] })
    })
  })

  test('a replacement whose end is heard of before its beginning', async () => {
    const page = await openStorage()
    page.fake.routes['POST /imports'] = () => {
      const job = page.fake.newJob('import')
      page.event('librarian.job', { ...job })
      page.event('librarian.job', Object.assign(job, { state: 'done' }))
      return { status: 202, body: { job: { ...job, state: 'queued' } } }
    }
    page.button('Replace copies by links…').click()
    await settle()
    page.find('.lib-dialog input[type=checkbox]').click()
    await settle()
    page.fake.routes['GET /duplicates'] = () => ({ status: 200, body: { groups: [], bytes_to_win: 0, files_to_hash: 0 } })
    page.button('Replace 3 copies').click()
    await settle()
    expect(page.text()).toContain('3 copies are links now.')
  })

  describe('equal files of the library', () => {
    const file = (/** @type {string} */ name, model_format = 'single-file') => ({ model_id: `vision/esrgan/${name}`, path: `/lib/${name}`, storage: 'owned', official_name: name, model_format, security_tier: 'safe', can_share: true })
    const group = { sha256: 'dd', size_bytes: 2_000_000_000, bytes_to_win: 4_000_000_000, to_share: 2, files: [file('one'), file('two'), file('part', 'diffusion-folder')] }
    const sharing = { model_id: 'm', keeper: '/lib/one', size_bytes: 2_000_000_000, bytes_to_win: 2_000_000_000 }

    /** @param {'clone' | 'hardlink'} way */
    const openShare = (way) =>
      openStorage({
        prepare: (fake) => {
          fake.routes['GET /duplicates'] = () => ({ status: 200, body: { groups: [group], bytes_to_win: 4_000_000_000, files_to_hash: 0 } })
          fake.routes['POST /duplicates/share/preview'] = () => ({
            status: 200,
            body: { files: [{ ...sharing, path: '/lib/two', way }], left: [{ model_id: 'p', path: '/lib/part', code: 'read_only', reason: 'It is write-protected.' }], bytes_to_win: 2_000_000_000 }
          })
          fake.routes['POST /duplicates/share'] = ({ body }) => ({ status: 202, body: { job: fake.newJob('share', { items: [{ name: '/lib/two', state: 'queued', message: null, model_id: 'm', current: 0, total: 0 }], asked: body }) } })
        }
      })

    test('are previewed, shared, and what became of each is told', async () => {
      const page = await openShare('hardlink')
      expect(page.text()).toContain('2 files of the library could share their bytes with other models: 4 GB would come free.')
      expect(page.text()).not.toContain('could be a link')
      page.find('[data-group=dd] summary').click()
      expect(page.find('[data-group=dd]').textContent).toContain('Every model stays.')
      page.button('Store equal bytes once…').click()
      await settle()
      const dialog = page.find('.lib-dialog')
      expect(dialog.textContent).toContain('1 file of the library becomes a second name (hard link) of another model’s file. 2 GB come free.')
      expect(dialog.textContent).toContain('changes it for both')
      expect(dialog.textContent).toContain('1 file stays as it is')
      expect(dialog.textContent).toContain('Stays as it is. It is write-protected.')
      expect(dialog.textContent).not.toContain('become links')
      const asked = (/** @type {string} */ path) => page.fake.requests.find((one) => one.path === path)?.body
      expect(asked('/duplicates/share/preview')).toEqual({ sha256: ['dd'] })
      expect([asked('/duplicates/share'), asked('/mappings/preview')]).toEqual([undefined, undefined])
      page.button('Store 1 file once').click()
      await settle()
      expect(asked('/duplicates/share')).toEqual({ sha256: ['dd'], hard_links: true })
      expect(asked('/imports')).toBeUndefined()
      const [job] = page.fake.jobs
      Object.assign(job, { state: 'done', items: [{ ...job.items[0], state: 'done' }] })
      page.fake.routes['GET /duplicates'] = () => ({ status: 200, body: { groups: [], bytes_to_win: 0, files_to_hash: 0 } })
      page.event('librarian.job', { ...job })
      await settle()
      expect(page.text()).toContain('1 file shares its bytes now. 2 GB came free.')
      expect(page.text()).not.toContain('are links now')
    })

    test('clones need no warning and no agreement; what failed and what was cancelled is told', async () => {
      const page = await openShare('clone')
      page.button('Store equal bytes once…').click()
      await settle()
      expect(page.find('.lib-dialog').textContent).toContain('1 file of the library becomes a clone')
      expect(page.find('.lib-dialog').textContent).not.toContain('hard link')
      page.button('Store 1 file once').click()
      await settle()
      expect(page.fake.requests.find(({ path }) => path === '/duplicates/share')?.body).toEqual({ sha256: ['dd'], hard_links: false })
      const [job] = page.fake.jobs
      page.event('librarian.job', { ...Object.assign(job, { state: 'done', items: [{ ...job.items[0], state: 'failed', message: '/lib/two changed.' }] }) })
      await settle()
      expect(page.text()).toContain('1 copy is still there.')
      expect(page.text()).toContain('/lib/two: /lib/two changed.')
    })

    test('of which none can be shared: nothing to confirm', async () => {
      const page = await openShare('clone')
      page.fake.routes['POST /duplicates/share/preview'] = () => ({ status: 200, body: { files: [], left: [{ model_id: 'p', path: '/lib/two', code: 'hard_linked', reason: 'It has more names.' }], bytes_to_win: 0 } })
      page.button('Store equal bytes once…').click()
      await settle()
      expect(page.find('.lib-dialog').textContent).toContain('Stays as it is. It has more names.')
      expect(page.button('Store 0 files once').disabled).toBe(true)
    })
  })

  test('a preview that fails is said, and can be left', async () => {
    const page = await openStorage({ prepare: (fake) => void (fake.routes['POST /mappings/preview'] = () => problem(500, 'internal_error', 'It broke')) })
    page.button('Replace copies by links…').click()
    await settle()
    expect(page.text()).toContain('The copies were not replaced')
    page.button('Dismiss').click()
    await settle()
    expect(page.text()).not.toContain('The copies were not replaced')
  })
})

describe('the first start', () => {
  test('says what was found, what stays untouched, and leads on; once', async () => {
    const page = await openPanel({ prepare: (fake) => void (fake.routes['GET /status'] = () => ({ status: 200, body: { ...fake.status(), library: { ...fake.status().library, models: 40, in_place: 40, size_bytes: 5_000_000_000 } } })) })
    await settle()
    expect(page.find('.lib-first-run').textContent).toContain('Found 40 models (5 GB) where they lie')
    expect(page.find('.lib-first-run').textContent).toContain('Nothing was moved')
    page.button('See what takes the room').click()
    await settle()
    expect(page.find('.lib-storage')).not.toBeNull()
    page.button('Models').click()
    await settle()
    expect(page.find('.lib-first-run')).toBeNull()
  })

  test('a library of one’s own needs no introduction', async () => {
    const page = await openPanel()
    await settle()
    expect(page.find('.lib-first-run')).toBeNull()
  })

  test('no models at all: one step', async () => {
    const page = await openPanel({ models: 0 })
    await settle()
    expect(page.text()).toContain('No models yet')
    page.button('Import models').click()
    await settle()
    expect(page.find('.lib-import')).not.toBeNull()
  })
})
