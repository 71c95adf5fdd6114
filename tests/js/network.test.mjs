import { afterEach, describe, expect, test, vi } from 'vitest'
import { groupFiles, onlyModel, remoteSize, remoteTier } from '../../web/app/remote-files.mjs'
import { REMOTE_DEBOUNCE } from '../../web/app/stores/remote.mjs'
import { DEBOUNCE } from '../../web/app/stores/search.mjs'
import { trustOf } from '../../web/app/trust.mjs'
import { fakeModel, problem } from './fake-librarian.mjs'
import { REPOSITORIES, fakeDownload } from './fake-network.mjs'
import { openPanel, press, type } from './panel-in-a-page.mjs'

afterEach(() => {
  vi.useRealTimers()
  document.body.replaceChildren()
})

/** Answers arrive while time passes. @param {number} ms */
async function pass(ms) {
  for (let left = ms; left > 0; left -= 50) await vi.advanceTimersByTimeAsync(Math.min(50, left))
}

/** The panel with time in the test's hands. @param {Parameters<typeof openPanel>[0]} [options] */
async function openSlowly(options) {
  vi.useFakeTimers()
  const page = await openPanel(options)
  await pass(100)
  return page
}

/** @param {any} page */
const remoteCalls = (page) => page.fake.requests.filter((/** @type {any} */ { path }) => path === '/remote').map((/** @type {any} */ { query }) => query.get('q'))
/** @param {any} page */
const names = (page) => page.all('.lib-remote-row .lib-row-name').map((/** @type {any} */ one) => one.textContent)

/** @param {any} page @param {string} text */
async function search(page, text) {
  type(page.find('[data-lib-search]'), text)
  await pass(DEBOUNCE + REMOTE_DEBOUNCE + 100)
}

/** @param {any} body */
const withSettings = (body) => ({ prepare: (/** @type {any} */ fake) => (fake.routes['GET /settings'] = () => ({ status: 200, body })) })

/** @param {any} more */
const remoteAnswer = (more) => ({ status: 200, body: { models: REPOSITORIES, cached: false, stale: false, offline: false, fetched_at: '2026-11-22T10:00:00Z', problems: [], ...more } })

describe('models of the hosts', () => {
  test('stand below what one owns, asked for once when the typing is over and the library answered', async () => {
    const page = await openSlowly()
    type(page.find('[data-lib-search]'), 'flux')
    await pass(DEBOUNCE + 50)
    expect(remoteCalls(page)).toEqual([])
    expect(page.all('[role=option]').length).toBeGreaterThan(0)
    await pass(REMOTE_DEBOUNCE + 100)
    expect(remoteCalls(page)).toEqual(['flux'])
    expect(names(page)).toEqual(['Comfy-Org/flux1-dev', 'FLUX · Dev fp16', 'black-forest-labs/FLUX.1-dev'])
    const [first, second] = page.all('.lib-remote-row')
    expect(first?.textContent).toContain('1,234,567 downloads')
    expect(first?.textContent).toContain('812 likes')
    expect(second?.textContent).toContain('23.8 GB')
    expect(second?.textContent).toContain('Civitai')
    expect(page.all('.lib-remote-row')[2]?.querySelector('[aria-label="Terms to accept first"]')).not.toBeNull()
    page.button('Clear search').click()
    await pass(100)
    expect(page.find('.lib-remote')).toBeNull()
  })

  test('are asked for only with two letters, and not before the last key', async () => {
    const page = await openSlowly()
    await search(page, 'f')
    expect(remoteCalls(page)).toEqual([])
    type(page.find('[data-lib-search]'), 'l')
    await pass(DEBOUNCE + 100)
    type(page.find('[data-lib-search]'), 'ux')
    await pass(DEBOUNCE + REMOTE_DEBOUNCE + 100)
    expect(remoteCalls(page)).toEqual(['flux'])
  })

  test('are neither asked for nor offered when the network is switched off', async () => {
    const page = await openSlowly(withSettings({ online: false, remote_search: true }))
    await search(page, 'flux')
    expect(remoteCalls(page)).toEqual([])
    expect(page.find('.lib-remote')).toBeNull()
  })

  test('nothing typed is sent before one says so, and then only those words', async () => {
    const page = await openSlowly(withSettings({ online: true, remote_search: false }))
    await search(page, 'flux')
    expect(remoteCalls(page)).toEqual([])
    expect(page.find('.lib-remote').textContent).toContain('Look for “flux” at Hugging Face and Civitai, too?')
    type(page.find('[data-lib-search]'), '1')
    await pass(50)
    expect(page.find('.lib-remote').textContent).toContain('“flux1”')
    await pass(DEBOUNCE + REMOTE_DEBOUNCE + 100)
    expect(remoteCalls(page)).toEqual([])
    page.button('Search online').click()
    await pass(200)
    expect(remoteCalls(page)).toEqual(['flux1'])
    expect(names(page)).toEqual(['Comfy-Org/flux1-dev'])
    type(page.find('[data-lib-search]'), '-')
    await pass(DEBOUNCE + REMOTE_DEBOUNCE + 100)
    expect(remoteCalls(page)).toEqual(['flux1'])
    expect(page.find('.lib-remote').textContent).toContain('“flux1-”')
    page.button('Clear search').click()
    await pass(100)
    expect(page.find('.lib-remote')).toBeNull()
  })

  test('with nothing of one’s own under these words, Enter asks for them', async () => {
    const page = await openSlowly(withSettings({ online: true, remote_search: false }))
    await search(page, 'black-forest')
    expect(page.all('[role=option]')).toHaveLength(0)
    press(page.find('[data-lib-search]'), 'Enter')
    await pass(200)
    expect(remoteCalls(page)).toEqual(['black-forest'])
    expect(names(page)).toHaveLength(1)
  })

  test('«always» is a setting, and asks at once', async () => {
    let settings = { online: true, remote_search: false }
    const page = await openSlowly({
      prepare: (fake) => {
        fake.routes['GET /settings'] = () => ({ status: 200, body: settings })
        fake.routes['PATCH /settings'] = ({ body }) => ({ status: 200, body: (settings = { ...settings, ...body }) })
      }
    })
    await search(page, 'flux')
    page.button('Always').click()
    await pass(200)
    expect(settings.remote_search).toBe(true)
    expect(remoteCalls(page)).toEqual(['flux'])
  })

  test('old ones are shown at once; what is new comes below them without moving a row', async () => {
    const page = await openSlowly({
      prepare: (fake) => {
        let times = 0
        const [a, b, c] = REPOSITORIES
        fake.routes['GET /remote'] = () => (times++ ? remoteAnswer({ models: [c, { ...a, likes: 999 }, b] }) : remoteAnswer({ models: [a, b], cached: true, stale: true }))
      }
    })
    await search(page, 'flux')
    expect(page.find('.lib-remote-said').textContent).toContain('Refreshing…')
    expect(names(page)).toHaveLength(2)
    await pass(1600)
    expect(names(page)).toEqual(['Comfy-Org/flux1-dev', 'FLUX · Dev fp16', 'black-forest-labs/FLUX.1-dev'])
    expect(page.all('.lib-remote-row')[0]?.textContent).toContain('999 likes')
    expect(page.find('.lib-remote-said').textContent).not.toContain('Refreshing…')
  })

  test('a larger change waits for a click; the event brings it', async () => {
    const page = await openSlowly({
      prepare: (fake) => {
        let times = 0
        const [a, b, c] = REPOSITORIES
        fake.routes['GET /remote'] = () => remoteAnswer({ models: times++ ? [c] : [a, b] })
      }
    })
    await search(page, 'Flux')
    page.event('librarian.remote', { provider: 'huggingface', q: 'something else' })
    await pass(400)
    expect(remoteCalls(page)).toHaveLength(1)
    page.event('librarian.remote', { provider: 'huggingface', q: 'flux' })
    page.event('librarian.remote', { provider: 'civitai', q: 'flux' })
    await pass(400)
    expect(remoteCalls(page)).toHaveLength(2)
    expect(names(page)).toHaveLength(2)
    page.button('New results · Update view').click()
    await pass(50)
    expect(names(page)).toEqual(['black-forest-labs/FLUX.1-dev'])
  })

  test('who does not answer takes nothing away', async () => {
    const page = await openSlowly({
      prepare: (fake) => {
        let times = 0
        fake.routes['GET /remote'] = () => (times++ ? remoteAnswer({ models: REPOSITORIES.slice(1, 2), offline: true, problems: [{ provider: 'huggingface', code: 'circuit_open', message: 'It is left alone.' }] }) : remoteAnswer({}))
      }
    })
    await search(page, 'flux')
    page.event('librarian.remote', { provider: 'civitai', q: 'flux' })
    await pass(400)
    expect(names(page)).toHaveLength(3)
    expect(page.find('.lib-remote .lib-update')).toBeNull()
  })

  test('without the network: what is remembered, and since when, else nothing', async () => {
    const page = await openSlowly({ prepare: (fake) => (fake.routes['GET /remote'] = ({ query }) => remoteAnswer({ models: query.get('q') === 'flux' ? REPOSITORIES : [], cached: true, stale: true, offline: true })) })
    await search(page, 'flux')
    expect(page.find('.lib-remote-said').textContent).toContain('Using cached results of Nov 22, 2026')
    type(page.find('[data-lib-search]'), 'x')
    await pass(DEBOUNCE + REMOTE_DEBOUNCE + 100)
    expect(page.find('.lib-remote')).toBeNull()
  })

  test('a host that does not answer is named beside what the other has; a failure can be tried again', async () => {
    const page = await openSlowly({
      prepare: (fake) => {
        let times = 0
        fake.routes['GET /remote'] = () =>
          times++ ? remoteAnswer({ models: REPOSITORIES.slice(0, 1), problems: [{ provider: 'civitai', code: 'rate_limited', message: 'Wait 20 seconds.' }] }) : problem(502, 'bad_answer', 'No host made sense')
      }
    })
    await search(page, 'flux')
    expect(page.find('.lib-remote [role=alert]').textContent).toContain('The search there did not work')
    page.find('.lib-remote [role=alert] button').click()
    await pass(100)
    expect(page.find('.lib-remote').textContent).toContain('Civitai: Wait 20 seconds.')
    expect(names(page)).toHaveLength(1)
  })
})

describe('a repository', () => {
  test('its files: models first, a set as one, what belongs to them, nothing else', () => {
    const [repository] = REPOSITORIES
    expect(groupFiles(repository).map(({ name, paths, belongs }) => [name, paths.length, belongs])).toEqual([
      ['flux1-dev-fp8.safetensors', 1, false],
      ['vae/ae.safetensors', 1, true],
      ['text_encoders/t5xxl_fp16.safetensors', 2, true]
    ])
    const odd = { provider: 'huggingface', repo_id: 'a/b', file_names: ['vae-ft-mse.safetensors', 'optimizer.pt', 'm-00001-of-00003.bin', 'm-00003-of-00003.bin', 'm.bin.index.json', 'x.yaml', 'x.ckpt'] }
    expect(groupFiles(odd).map(({ name, paths, pickle, belongs, missing }) => [name, paths.length, pickle, belongs, missing])).toEqual([
      ['m.bin', 3, true, false, 1],
      ['x.ckpt', 1, true, false, 0],
      ['vae-ft-mse.safetensors', 1, false, true, 0],
      ['x.yaml', 1, false, true, 0]
    ])
    expect(groupFiles({ provider: 'huggingface', repo_id: 'a/vae', file_names: ['vae.safetensors'] })[0]?.belongs).toBe(false)
    expect(remoteTier(odd)).toBe('pickle')
    expect(remoteTier({ provider: 'huggingface', repo_id: 'a/b', file_names: ['README.md'] })).toBe('')
    expect(remoteSize(REPOSITORIES[1])).toBe(23_802_932_552)
  })

  test('opens with a click; a set is downloaded whole, and the queue shows it', async () => {
    const page = await openSlowly()
    await search(page, 'flux')
    page.all('.lib-remote-row')[0]?.click()
    await pass(50)
    const sheet = page.find('.lib-remote-sheet')
    expect(sheet.querySelector('h2').textContent).toBe('Comfy-Org/flux1-dev')
    expect(sheet.textContent).toContain('9 GB · a set of 2 files')
    const boxes = sheet.querySelectorAll('.lib-remote-file input')
    expect([...boxes].map((box) => box.checked)).toEqual([true, false, false])
    boxes[2].click()
    await pass(50)
    page.button(/^Download 2 items/).click()
    await pass(200)
    expect(page.fake.requests.find(({ method, path }) => method === 'POST' && path === '/downloads')?.body).toEqual({
      provider: 'huggingface', repo_id: 'Comfy-Org/flux1-dev', revision: 'a'.repeat(40), link: true,
      files: ['flux1-dev-fp8.safetensors', 'text_encoders/t5xxl_fp16-00001-of-00002.safetensors', 'text_encoders/t5xxl_fp16-00002-of-00002.safetensors']
    })
    expect(page.find('.lib-remote-sheet')).toBeNull()
    expect(page.all('.lib-download')).toHaveLength(1)
  })

  test('without sizes its names do; without either it says why and offers again', async () => {
    const page = await openSlowly({ prepare: (fake) => (fake.routes['GET /remote/files'] = () => problem(503, 'circuit_open', 'huggingface.co does not answer')) })
    await search(page, 'comfy')
    page.all('.lib-remote-row')[0]?.click()
    await pass(100)
    expect(page.find('.lib-remote-sheet [role=alert]')).toBeNull()
    expect(page.all('.lib-remote-file')).toHaveLength(3)
    page.panel.panel.remote.open({ provider: 'huggingface', repo_id: 'a/b' })
    await pass(100)
    expect(page.find('.lib-remote-sheet [role=alert]').textContent).toContain('huggingface.co does not answer')
  })

  test('a Diffusers folder is one model; a precision of it is chosen alone', async () => {
    const paths = ['model_index.json', 'all-in-one.safetensors', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors', 'unet/diffusion_pytorch_model.fp16.safetensors', 'unet/model.onnx', 'vae/diffusion_pytorch_model.safetensors']
    const whole = (/** @type {string} */ variant) => ({ path: 'model_index.json', variant, files: ['model_index.json', 'unet/config.json', 'unet/x', 'vae/x'], size: variant ? 7e9 : 14e9, pickle: false })
    const model = { provider: 'huggingface', repo_id: 'org/pipe', name: 'pipe', revision: 'c'.repeat(40), file_names: paths, files: [] }
    const page = await openSlowly({
      prepare: (fake) => (fake.routes['GET /remote/files'] = () => ({ status: 200, body: { files: paths.map((path) => ({ path, size: 1e9 })), pipelines: [whole(''), whole('fp16')], complete: true } }))
    })
    page.panel.panel.remote.open(model)
    await pass(100)
    const rows = () => [...page.find('.lib-remote-sheet').querySelectorAll('.lib-remote-file')]
    expect(rows()[0].textContent).toContain('4 files of a Diffusers folder, as one model · 14 GB')
    expect(rows()[1].textContent).toContain('fp16')
    expect(rows().map((row) => row.textContent).join()).not.toContain('model.onnx')
    const on = () => rows().map((row) => row.querySelector('input').checked)
    if (!on()[0]) rows()[0].querySelector('input').click()
    await pass(50)
    expect(on().slice(0, 3)).toEqual([true, false, false])
    rows()[1].querySelector('input').click()
    await pass(50)
    expect(on().slice(0, 3)).toEqual([false, true, false])
    page.button(/^Download 1 item · 7 GB/).click()
    await pass(200)
    expect(page.fake.requests.find(({ method, path }) => method === 'POST' && path === '/downloads')?.body).toEqual({
      provider: 'huggingface', repo_id: 'org/pipe', revision: 'c'.repeat(40), link: true, files: ['model_index.json'], variant: 'fp16'
    })
  })

  test('with nothing beside it, a Diffusers folder is ticked as soon as it is known', () => {
    const model = { provider: 'huggingface', repo_id: 'org/pipe', name: 'pipe', file_names: ['model_index.json', 'unet/diffusion_pytorch_model.safetensors'], files: [] }
    expect(onlyModel(model)).toEqual(['unet/diffusion_pytorch_model.safetensors'])
    const known = { ...model, files: model.file_names.map((path) => ({ path })), pipelines: [{ path: 'model_index.json', variant: '', files: model.file_names }] }
    expect(onlyModel(known)).toEqual(['model_index.json#'])
    expect(groupFiles(known).map(({ name, belongs }) => [name, belongs])).toEqual([['pipe', false], ['unet/diffusion_pytorch_model.safetensors', true]])
  })

  test('terms to accept and pickles hold the download back', async () => {
    const page = await openSlowly()
    await search(page, 'black')
    page.all('.lib-remote-row')[0]?.click()
    await pass(50)
    const sheet = page.find('.lib-remote-sheet')
    // The person of the fake has a token.
    expect(sheet.textContent).toContain('Accept the terms on its page at Hugging Face first')
    const pickle = [...sheet.querySelectorAll('.lib-remote-file')].find((one) => one.textContent.includes('old.ckpt'))
    pickle.querySelector('input').click()
    await pass(50)
    expect(page.button(/^Download 1 item/).disabled).toBe(true)
    page.find('[data-acknowledge]').click()
    await pass(50)
    page.button(/^Download 1 item/).click()
    await pass(100)
    expect(page.fake.requests.find(({ method, path }) => method === 'POST' && path === '/downloads')?.body.acknowledge_pickle).toBe(true)
  })

  test('what the server refuses is said where it was asked, and the choice stays', async () => {
    const page = await openSlowly({ prepare: (fake) => (fake.routes['POST /downloads'] = () => problem(507, 'insufficient_space', 'Not enough room', '17 GB are needed, 3 GB are free.')) })
    await search(page, 'comfy')
    page.all('.lib-remote-row')[0]?.click()
    await pass(50)
    page.button(/^Download 1 item/).click()
    await pass(100)
    expect(page.find('.lib-remote-sheet [role=alert]').textContent).toContain('17 GB are needed, 3 GB are free.')
    press(page.find('.lib-remote-sheet'), 'Escape')
    await pass(50)
    expect(page.find('.lib-remote-sheet')).toBeNull()
    expect(names(page)).toHaveLength(1)
    expect(document.activeElement).toBe(page.all('.lib-remote-row')[0])
  })
})

describe('downloads', () => {
  /** @param {any} page */
  async function openJobs(page) {
    page.panel.panel.view.openSheet('jobs')
    await pass(100)
  }

  test('bytes, rate and time left move; pause, resume, cancel', async () => {
    const page = await openSlowly({ prepare: (fake) => fake.downloads.push(fakeDownload()) })
    await openJobs(page)
    const entry = () => page.find('.lib-download')
    expect(entry().textContent).toContain('6.1 GB of 17.2 GB')
    expect(entry().textContent).toContain('41.2 MB/s')
    expect(entry().textContent).toContain('5 min left')
    page.fake.downloads[0].received = 9_000_000_000
    await pass(1100)
    expect(entry().textContent).toContain('9 GB of 17.2 GB')
    page.button('Pause').click()
    await pass(100)
    expect(entry().textContent).toContain('Paused')
    expect(entry().textContent).not.toContain('MB/s')
    const asked = page.fake.requests.filter(({ path }) => path === '/downloads').length
    await pass(3000)
    expect(page.fake.requests.filter(({ path }) => path === '/downloads').length).toBe(asked)
    page.button('Resume').click()
    await pass(100)
    expect(entry().textContent).toContain('Downloading')
    page.button('Cancel').click()
    await pass(100)
    expect(entry()).toBeNull()
  })

  test('waiting says why and counts down; failing says what to do', async () => {
    const page = await openSlowly({
      prepare: (fake) =>
        fake.downloads.push(
          fakeDownload({ id: 'w', state: 'waiting', rate: null, eta_s: null, retry_after_s: 42, reason: { code: 'circuit_open', message: 'huggingface.co does not answer.' } }),
          fakeDownload({ id: 'f', state: 'failed', rate: null, eta_s: null, reason: { code: 'remote_forbidden', message: 'Accept the licence on its page, then try again.' } }),
          fakeDownload({ id: 'p', state: 'failed', reason: { code: 'pickle_not_acknowledged', message: 'It can run code.' } })
        )
    })
    await openJobs(page)
    const [waiting, failed] = page.all('.lib-download')
    expect(waiting?.textContent).toContain('huggingface.co does not answer.')
    expect(waiting?.textContent).toContain('Next try in 42 s')
    expect(failed?.textContent).toContain('Accept the licence on its page, then try again.')
    expect(failed?.querySelector('a')?.href).toBe('https://huggingface.co/Comfy-Org/flux1-dev')
    page.button('Try now').click()
    await pass(100)
    expect(page.fake.requests.some(({ path }) => path === '/downloads/w/resume')).toBe(true)
    page.button('I trust it: download').click()
    await pass(100)
    expect(page.fake.requests.find(({ path }) => path === '/downloads/p/resume')?.body).toEqual({ acknowledge_pickle: true })
  })

  test.each([
    ['remote_unauthorized', true],
    ['remote_forbidden', true],
    ['remote_not_found', false],
    ['remote_legally_blocked', false]
  ])('%s: what is said, its page, and a token where one may help', async (code, token) => {
    const page = await openSlowly({ prepare: (fake) => fake.downloads.push(fakeDownload({ state: 'failed', rate: null, eta_s: null, reason: { code, message: `This is ${code}.` } })) })
    await openJobs(page)
    const entry = page.find('.lib-download')
    expect(entry.textContent).toContain(`This is ${code}.`)
    expect(entry.querySelector('a').textContent).toBe('Open its page')
    expect([...entry.querySelectorAll('button')].some((one) => one.textContent.trim() === 'Set a token')).toBe(token)
  })

  test('what came wrong: where it is kept, how large it is, and its end', async () => {
    const path = '/srv/model-library/.incoming/download-1/aside/0a1b2c3d-nice.safetensors.mismatch'
    const file = { path: 'nice.safetensors', size: 3e9, received: 0, state: 'failed', asked: true, reason: null, aside: { path, size: 3e9, sha256: 'f'.repeat(64) } }
    const page = await openSlowly({
      prepare: (fake) => fake.downloads.push(fakeDownload({ state: 'failed', rate: null, eta_s: null, files: [file], aside_size: 3e9, reason: { code: 'hash_mismatch', message: 'It arrived with other bytes.' } }))
    })
    await openJobs(page)
    const entry = () => page.find('.lib-download')
    expect(entry().textContent).toContain('kept aside (3 GB) and is no model of yours')
    expect(entry().querySelector('.lib-callout').innerHTML).toContain(path)
    page.button('Throw it away').click()
    await pass(200)
    expect(page.fake.requests.some(({ method, path: asked }) => method === 'DELETE' && asked === '/downloads/d1/aside')).toBe(true)
    expect(entry().querySelector('.lib-callout')).toBeNull()
    page.button('Remove').click()
    await pass(200)
    expect(page.find('.lib-download')).toBeNull()
  })

  test('finished: shown in the library, its kin offered, and off the list', async () => {
    const page = await openSlowly({
      prepare: (fake) => fake.downloads.push(fakeDownload({ state: 'done', models: [fakeModel(0).model_id], related: [{ path: 'vae/ae.safetensors', size: 335_304_388, subtype: 'vae' }] }))
    })
    await openJobs(page)
    expect(page.find('.lib-download').textContent).toContain('1 more file may be needed')
    page.button('Download').click()
    await pass(100)
    expect(page.fake.requests.find(({ method, path }) => method === 'POST' && path === '/downloads')?.body.files).toEqual(['vae/ae.safetensors'])
    page.button('Show in library').click()
    await pass(100)
    expect(page.find('.lib-details h2').textContent).toBe(fakeModel(0).official_name)
  })
})

describe('what one should know of the network', () => {
  /** @param {any} network */
  const withNetwork = (network) => ({
    prepare: (/** @type {any} */ fake) => (fake.routes['GET /status'] = () => ({ status: 200, body: { ...fake.status(), network: { offline: false, hosts: [], rate_limit: null, ...network } } }))
  })
  const open = { host: 'huggingface.co', state: 'open', failures: 3, retry_after_s: 48 }
  const limit = { host: 'huggingface.co', remaining: 12, limit: 500, reset_s: 120, near_limit: true }

  test('offline: once, counting down without a word to screen readers, and again on demand', async () => {
    const page = await openSlowly(withNetwork({ offline: true, hosts: [open], rate_limit: limit }))
    expect(page.all('.lib-banner')).toHaveLength(1)
    expect(page.find('.lib-banner').textContent).toContain('Using cached data (offline)')
    expect(page.find('.lib-banner [role=timer][aria-live=off]').textContent).toBe('next try in 48 s')
    await pass(2000)
    expect(page.find('.lib-banner [role=timer]').textContent).toBe('next try in 46 s')
    page.button('Try now').click()
    await pass(100)
    expect(page.fake.requests.some(({ method, path }) => method === 'POST' && path === '/lookup/retry')).toBe(true)
  })

  test('one host of two', async () => {
    const page = await openSlowly(withNetwork({ hosts: [open, { host: 'civitai.com', state: 'closed', failures: 0, retry_after_s: 0 }] }))
    expect(page.find('.lib-banner').textContent).toContain('Using cached data (huggingface.co does not answer)')
  })

  test('switched off is no fault', async () => {
    const page = await openSlowly(withNetwork({ offline: true }))
    expect(page.find('.lib-banner').dataset.severity).toBe('info')
    expect(page.find('.lib-banner').textContent).toContain('The network is switched off.')
  })

  test('a limit nearly used', async () => {
    const page = await openSlowly(withNetwork({ rate_limit: limit }))
    expect(page.text()).toContain('Rate limit nearly used')
    expect(page.text()).toContain('huggingface.co: 12 of 500 left · full again in 2 min')
  })
})

describe('trust', () => {
  test('never looked up is not «No match»', () => {
    expect(trustOf({ model_id: 'a', match_method: 'none', lookup_attempts: 0 })).toBe('never')
    expect(trustOf({ model_id: 'a', match_method: 'none', lookup_attempts: 2 })).toBe('none')
    expect(trustOf({ match_method: 'none' })).toBe('none')
  })

  test('details say why, in plain words', async () => {
    const page = await openSlowly()
    page.panel.panel.details.open(fakeModel(4).model_id)
    await pass(100)
    expect(page.find('.lib-trust-reason').textContent).toContain('The name is the publisher’s, the bytes are not')
  })

  test('a lookup names both hosts, how sure they are, and who did not answer', async () => {
    const page = await openSlowly({
      prepare: (fake) => {
        const candidate = { provider: 'civitai', repo_id: '4201', official_name: 'Realistic Vision - V6', match_method: 'hash', match_confidence: 1, requires_confirmation: false, hash_mismatch: false, page_url: 'https://civitai.com/models/4201' }
        fake.routes['POST /lookup'] = () => ({ status: 200, body: { found: true, candidates: [candidate], problems: [{ provider: 'huggingface', code: 'circuit_open', message: 'It is left alone for 40 seconds.' }] } })
      }
    })
    page.panel.panel.details.open(fakeModel(2).model_id)
    await pass(100)
    page.button('Look up').click()
    await pass(100)
    const section = page.find('.lib-lookup')
    expect(section.querySelector('a').textContent).toBe('Realistic Vision - V6')
    expect(section.textContent).toContain('100% sure')
    expect(section.textContent).toContain('Hugging Face: It is left alone for 40 seconds.')
  })
})

describe('settings of the network', () => {
  /** @param {any} page */
  const patches = (page) => page.fake.requests.filter((/** @type {any} */ { method }) => method === 'PATCH').map((/** @type {any} */ { body }) => body)

  test('a token is set, replaced and forgotten, and never shown', async () => {
    const page = await openSlowly()
    page.panel.panel.view.openSheet('settings')
    await pass(100)
    const hub = page.find('[aria-label="Hugging Face token"]')
    expect(hub.querySelector('input')).toBeNull()
    expect(hub.textContent).toContain('set')
    ;[...hub.querySelectorAll('button')].find((one) => one.textContent?.trim() === 'Replace')?.click()
    await pass(50)
    const field = page.find('#lib-secret-huggingface_token')
    expect(field.type).toBe('password')
    type(field, 'hf_new')
    await pass(50)
    press(field, 'Enter')
    await pass(100)
    expect(patches(page)).toEqual([{ huggingface_token: 'hf_new' }])
    expect(page.element.innerHTML).not.toContain('hf_new')
    ;[...page.find('[aria-label="Hugging Face token"]').querySelectorAll('button')].find((one) => one.textContent?.trim() === 'Forget')?.click()
    await pass(100)
    expect(patches(page).at(-1)).toEqual({ huggingface_token: null })
  })

  test('limit, width and library folder; a wrong number is not sent', async () => {
    const page = await openSlowly()
    page.panel.panel.view.openSheet('settings')
    await pass(100)
    const field = page.find('#lib-setting-download_limit')
    type(field, 'fast')
    await pass(50)
    expect(page.text()).toContain('Give a number of 0.01 or more.')
    press(field, 'Enter')
    field.value = ''
    type(field, '2.5')
    await pass(50)
    press(field, 'Enter')
    await pass(100)
    expect(patches(page)).toEqual([{ download_limit: 2_500_000 }])
    const width = page.find('#lib-setting-transfers_at_once')
    width.value = '4'
    width.dispatchEvent(new Event('change', { bubbles: true }))
    await pass(100)
    expect(patches(page).at(-1)).toEqual({ transfers_at_once: 4 })
    const root = page.find('#lib-setting-library_root')
    root.value = ''
    type(root, '/srv/other')
    await pass(50)
    press(root, 'Enter')
    await pass(100)
    expect(patches(page).at(-1)).toEqual({ library_root: '/srv/other' })
    expect(page.text()).toContain('From the next start on: /srv/other')
  })

  test('hosts that may be asked as well', async () => {
    const page = await openSlowly({
      prepare: (fake) => (fake.routes['GET /settings'] = () => ({ status: 200, body: { online: true, allowed_hosts: ['mirror.example'], allow_private_addresses: false } }))
    })
    page.panel.panel.view.openSheet('settings')
    await pass(100)
    const field = page.find('input[aria-label="More hosts"]')
    type(field, 'other.example')
    await pass(50)
    press(field, 'Enter')
    await pass(100)
    expect(patches(page)).toEqual([{ allowed_hosts: ['mirror.example', 'other.example'] }])
  })

  test('switching the search at the hosts off takes their results away', async () => {
    const page = await openSlowly()
    await search(page, 'flux')
    expect(names(page)).toHaveLength(3)
    page.panel.panel.view.openSheet('settings')
    await pass(100)
    ;[...page.all('.lib-switch')].find((one) => one.textContent?.includes('Search at Hugging Face'))?.querySelector('input')?.click()
    await pass(100)
    expect(patches(page)).toEqual([{ remote_search: false }])
    expect(names(page)).toEqual([])
    expect(page.find('.lib-remote').textContent).toContain('Search online')
  })
})
