import { afterEach, describe, expect, test } from 'vitest'
import { fakeModel, problem } from './fake-librarian.mjs'
import { openPanel, press, settle, type } from './panel-in-a-page.mjs'

afterEach(() => document.body.replaceChildren())

/** @typedef {Awaited<ReturnType<typeof openPanel>>} Page */

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function atImport(options) {
  const page = await openPanel(options)
  await settle()
  page.panel.panel.view.go('import')
  await settle()
  return page
}

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function inspected(options) {
  const page = await atImport(options)
  type(page.find('#lib-import-paths'), '/srv/downloads')
  await settle()
  page.button('Inspect').click()
  await settle()
  return page
}

/** @param {Page} page */
async function next(page) {
  page.button('Next').click()
  await settle()
}

/** @param {Page} page */
async function begin(page) {
  await next(page)
  page.find('[data-acknowledge]')?.click()
  await settle()
  page.find('[data-import-start]').click()
  await settle()
}

/** @param {Page} page @param {string} path */
const sentTo = (page, path) => page.fake.requests.filter((request) => request.path === path && request.method === 'POST').map(({ body }) => body)

/** Any number of harmless models. @param {number} count @param {(at: number) => object} [more] */
const many = (count, more = () => ({})) => (/** @type {any} */ fake) =>
  (fake.routes['POST /inspect'] = () => ({
    status: 200,
    body: {
      groups: Array.from({ length: count }, (_, at) => ({
        name: `${fakeModel(at).file_name}`, format: 'single-file', files: [{ path: `/srv/${at}/${fakeModel(at).file_name}`, size: 1000 }], size_bytes: 1000,
        complete: true, missing_shards: [], guess: { official_name: fakeModel(at).official_name, subtype: 'loras', family: 'sdxl', base_model: '' },
        security_tier: 'safe', duplicate_of: null, importable: true, problem: null, ...more(at)
      }))
    }
  }))

describe('what was found', () => {
  test('says what it is, what is in the way, and leaves out what cannot be imported', async () => {
    const page = await inspected()
    expect(page.text()).toContain('5 things found')
    expect(page.text()).toContain('3 left out')
    expect(page.text()).toContain('part 3 of 3 is missing')
    expect(page.text()).toContain('This is a web page saved under the name of a model')
    expect(page.text()).toContain('These bytes are known already: diffusion/sdxl/sd_xl_base_1.0_0.9vae')
    expect(page.text()).toContain('2 chosen · 21.5 GB · 1 pickle')
    expect(page.all('.lib-draft-head input').map((/** @type {any} */ box) => box.checked)).toEqual([true, true])
    page.button('diffusion/sdxl/sd_xl_base_1.0_0.9vae').click()
    await settle()
    expect(page.find('.lib-details h2').textContent).toBe('sd_xl_base_1.0_0.9vae')
  })

  test('every guess can be changed, and only changes are sent', async () => {
    const page = await inspected()
    const set = async (/** @type {string} */ field, /** @type {string} */ value) => {
      const input = page.find(`[data-field=${field}]`)
      input.value = value
      input.dispatchEvent(new Event(field === 'subtype' ? 'change' : 'input', { bubbles: true }))
      await settle()
    }
    await set('official_name', 'Flux Schnell')
    await set('subtype', 'diffusion_models')
    await set('base_model', 'other')
    await set('base_model', 'Flux.1 S')
    await set('precision', '')
    await begin(page)
    const [sent] = sentTo(page, '/imports')
    expect(sent).toMatchObject({ link: true, delete_originals: false })
    expect(sent.items).toEqual([
      { paths: ['/srv/downloads/flux1-schnell-fp8.safetensors'], mode: 'auto', metadata: { official_name: 'Flux Schnell', subtype: 'diffusion_models', precision: '' }, acknowledge_pickle: false },
      { paths: ['/srv/downloads/old.ckpt'], mode: 'auto', metadata: {}, acknowledge_pickle: true }
    ])
  })

  test('what was changed stays when one goes back and inspects again', async () => {
    const page = await inspected()
    page.panel.panel.imports.describe('/srv/downloads/old.ckpt', 'family', 'sdxl')
    page.panel.panel.imports.include('/srv/downloads/flux1-schnell-fp8.safetensors', false)
    page.button('Back').click()
    await settle()
    page.button('Inspect').click()
    await settle()
    expect(page.text()).toContain('1 chosen · 4.27 GB')
    await begin(page)
    expect(sentTo(page, '/imports')[0].items).toMatchObject([{ paths: ['/srv/downloads/old.ckpt'], metadata: { family: 'sdxl' } }])
  })

  test('three hundred: a page of them is drawn, all can be filtered, chosen and given a kind', async () => {
    const page = await inspected({ prepare: many(300) })
    expect(page.text()).toContain('300 chosen')
    expect(page.all('.lib-draft').length).toBeLessThanOrEqual(60)
    page.button('Show 60 more').click()
    await settle()
    expect(page.all('.lib-draft')).toHaveLength(120)
    const kind = page.find('.lib-kind-all select')
    expect(kind.value).toBe('loras')
    kind.value = 'embeddings'
    kind.dispatchEvent(new Event('change', { bubbles: true }))
    type(page.find('input[type=search]'), 'pixel-art')
    await settle()
    expect(page.all('.lib-draft')).toHaveLength(15)
    page.find('.lib-for-many .lib-choice input').click()
    await settle()
    expect(page.text()).toContain('285 chosen')
    await begin(page)
    const [sent] = sentTo(page, '/imports')
    expect(sent.items).toHaveLength(285)
    expect(sent.items.every((/** @type {any} */ item) => item.metadata.subtype === 'embeddings')).toBe(true)
  })

  test.each([['', false], [', also if the end is heard of before the beginning', true]])('Hugging Face is asked only on request, and its answer is applied once the hash is known%s', async (_, overtaken) => {
    const page = await inspected({ prepare: many(1) })
    expect(sentTo(page, '/lookup')).toEqual([])
    page.button('Ask Hugging Face what it is').click()
    await settle()
    expect(sentTo(page, '/lookup')).toEqual([{ filename: 'flux1-dev-fp8.safetensors' }])
    expect(page.all('.lib-candidate .lib-badge').map((badge) => /** @type {any} */ (badge).dataset.trust)).toEqual(['verified', 'modified', 'low'])
    page.button('Use').click()
    await settle()
    expect(page.find('[data-field=base_model]').value).toBe('SDXL 1.0')
    const end = (/** @type {any} */ job) => page.event('librarian.job', { ...job, state: 'done', items: [{ name: 'x', state: 'done', model_id: 'diffusion/flux/flux1-dev-fp8' }] })
    const usual = /** @type {any} */ (page.fake.routes['POST /imports'])
    page.fake.routes['POST /imports'] = (call) => {
      const begun = usual(call)
      page.event('librarian.job', begun.body.job)
      if (overtaken) end(begun.body.job)
      return begun
    }
    await begin(page)
    if (!overtaken) end(page.fake.jobs[0])
    await settle()
    expect(sentTo(page, '/lookup/apply')).toMatchObject([{ model_id: 'diffusion/flux/flux1-dev-fp8', candidate: { repo_id: 'stabilityai/stable-diffusion-xl-base-1.0', match_method: 'hash' } }])
  })

  test('it is asked about all that are chosen one after the other, until it cannot be', async () => {
    const page = await inspected({ prepare: (fake) => {
      many(4)(fake)
      const usual = fake.routes['POST /lookup']
      let asked = 0
      fake.routes['POST /lookup'] = (/** @type {any} */ call) => ((asked += 1) === 3 ? problem(503, 'network_error', 'The hub does not answer') : usual(call))
    } })
    page.all('.lib-draft-head input')[1]?.click()
    await settle()
    page.button('Ask Hugging Face what these 3 are').click()
    await settle()
    await settle()
    expect(sentTo(page, '/lookup')).toHaveLength(3)
    expect(page.all('.lib-draft .lib-mark[data-trust=verified]')).toHaveLength(2)
    expect(page.button('Ask Hugging Face what it is')).toBeTruthy()
  })

  test('offline nothing can be asked, and nothing else is in the way', async () => {
    const page = await inspected({
      prepare: (fake) => {
        many(1)(fake)
        const status = fake.status()
        fake.routes['GET /status'] = () => ({ status: 200, body: { ...status, network: { offline: true, hosts: [], rate_limit: null } } })
      }
    })
    expect(page.button('Offline: Hugging Face cannot be asked').disabled).toBe(true)
    await begin(page)
    expect(sentTo(page, '/imports')).toHaveLength(1)
  })

  test('what cannot be inspected says why, and Retry asks again', async () => {
    const page = await inspected({ prepare: (fake) => (fake.routes['POST /inspect'] = () => problem(403, 'outside_allowed_roots', 'Outside of the allowed folders', '/etc is not a folder of models')) })
    expect(page.find('[role=alert]').textContent).toContain('/etc is not a folder of models')
    const before = page.fake.requests.length
    page.button('Retry').click()
    await settle()
    expect(page.fake.requests.slice(before).map(({ path }) => path)).toContain('/inspect')
    page.button('Allowed folders').click()
    await settle()
    expect(page.find('.lib-sheet').textContent).toContain('Settings')
  })

  test('nothing found says so', async () => {
    const page = await inspected({ prepare: many(0) })
    expect(page.text()).toContain('Nothing to import here')
  })
})

describe('how', () => {
  test('a pickle blocks until its box is ticked', async () => {
    const page = await inspected()
    await next(page)
    const start = () => page.find('[data-import-start]')
    expect(start().disabled).toBe(true)
    expect(page.text()).toContain('Tick the box of each pickle')
    start().click()
    await settle()
    expect(sentTo(page, '/imports')).toEqual([])
    page.find('[data-acknowledge]').click()
    await settle()
    expect(start().disabled).toBe(false)
  })

  test('several pickles are named, and one box is for all of them', async () => {
    const page = await inspected({ prepare: many(3, () => ({ security_tier: 'pickle' })) })
    await next(page)
    expect(page.text()).toContain('3 of these are pickles.')
    expect(page.all('[data-acknowledge]')).toHaveLength(3)
    expect(page.find('.lib-acknowledge-all').textContent).toContain('v1-5-pruned-emaonly-fp16')
    page.all('[data-acknowledge]')[0]?.click()
    await settle()
    expect(page.find('[data-import-start]').disabled).toBe(true)
    page.find('[data-acknowledge-all]').click()
    await settle()
    page.find('[data-import-start]').click()
    await settle()
    expect(sentTo(page, '/imports')[0].items.map((/** @type {any} */ item) => item.acknowledge_pickle)).toEqual([true, true, true])
  })

  test('a pickle that is left out blocks nothing', async () => {
    const page = await inspected()
    page.all('.lib-draft-head input')[1]?.click()
    await settle()
    await next(page)
    expect(page.find('[data-acknowledge]')).toBeNull()
    expect(page.find('[data-import-start]').disabled).toBe(false)
  })

  const modes = (/** @type {Page} */ page) => page.all('[name=lib-import-mode]').filter((/** @type {any} */ radio) => !radio.disabled).map((/** @type {any} */ radio) => radio.value)

  test('each way says in numbers what it will do', async () => {
    const page = await inspected({ prepare: many(2) })
    await next(page)
    expect(page.find('[name=lib-import-mode]:checked').value).toBe('auto')
    expect(modes(page)).toEqual(['auto', 'copy', 'move', 'adopt', 'reflink', 'in-place'])
    page.find('input[value=adopt]').click()
    await settle()
    expect(page.text()).toContain('2 files, 2 kB: moved, 2 links left behind')
    page.find('input[value=copy]').click()
    await settle()
    expect(page.text()).toContain('2 files, 2 kB: copied')
  })

  test('what lies where an app looks for it is adopted first, and never taken away', async () => {
    const inApp = (/** @type {number} */ at) => ({ files: [{ path: `/home/me/ComfyUI/models/loras/${at}.safetensors`, size: 1000 }] })
    const page = await inspected({ prepare: many(2, inApp) })
    await next(page)
    expect(modes(page)).toEqual(['adopt', 'auto', 'copy', 'reflink'])
    expect(page.find('[name=lib-import-mode]:checked').value).toBe('adopt')
    page.find('input[value=copy]').click()
    await settle()
    expect(page.text()).not.toContain('Delete the original afterwards')
  })

  test('what is listed in place already can only be adopted', async () => {
    const page = await inspected({
      prepare: many(2, (at) => ({ importable: false, duplicate_of: `in-place/${at}`, files: [{ path: at ? `/home/me/ComfyUI/models/loras/${at}.safetensors` : '/srv/x.safetensors', size: 1000 }] }))
    })
    expect(page.text()).toContain('Listed where it lies; it can be adopted: in-place/1')
    expect(page.text()).toContain('1 left out')
    await next(page)
    expect(modes(page)).toEqual(['adopt'])
    page.find('[data-import-start]').click()
    await settle()
    expect(sentTo(page, '/imports')[0].items).toMatchObject([{ paths: ['/home/me/ComfyUI/models/loras/1.safetensors'], mode: 'adopt' }])
  })

  test('what the inspection warns of is said where it matters', async () => {
    const page = await inspected({ prepare: (fake) => {
      many(1)(fake)
      const usual = fake.routes['POST /inspect']
      fake.routes['POST /inspect'] = (/** @type {any} */ call) => {
        const answer = /** @type {any} */ (usual(call))
        answer.body.warnings = [{ code: 'cross_filesystem', message: 'It lies on another drive.' }, { code: 'sandboxed', message: 'ComfyUI runs in a container.' }, { code: 'other_names', message: 'It has other names.' }]
        return answer
      }
    } })
    await next(page)
    expect(page.text()).toContain('ComfyUI runs in a container.')
    expect(page.text()).not.toContain('It lies on another drive.')
    expect(page.text()).not.toContain('It has other names.')
    page.find('input[value=copy]').click()
    await settle()
    page.all('.lib-switch input')[0]?.click()
    await settle()
    expect(page.text()).not.toContain('It lies on another drive.')
    expect(page.text()).toContain('It has other names.')
    page.find('input[value=move]').click()
    await settle()
    expect(page.text()).toContain('It lies on another drive.')
    expect(page.text()).toContain('It has other names.')
  })

  test('originals are deleted only when that was asked for and they would stay', async () => {
    const page = await inspected({ prepare: many(1) })
    await next(page)
    page.find('input[value=copy]').click()
    await settle()
    page.all('.lib-switch input')[0]?.click()
    await settle()
    expect(page.text()).toContain('1 file goes to the trash, or for good where there is none, once size and hash of its copy agree')
    page.find('input[value=move]').click()
    await settle()
    expect(page.text()).not.toContain('goes to the trash')
    page.find('[data-import-start]').click()
    await settle()
    expect(sentTo(page, '/imports')[0]).toMatchObject({ delete_originals: false })
  })

  test('what does not begin says why', async () => {
    const page = await inspected({ prepare: (fake) => {
      many(1)(fake)
      fake.routes['POST /imports'] = () => problem(507, 'insufficient_space', 'Not enough room', 'Not enough room at /mnt: 12 GB are needed, 3 GB are free')
    } })
    await begin(page)
    expect(page.find('[role=alert] p').textContent).toBe('Not enough room at /mnt: 12 GB are needed, 3 GB are free')
    expect(page.find('[data-import-start]').disabled).toBe(false)
  })
})

describe('the import itself', () => {
  test('shows bytes, rate and time, then what became of each', async () => {
    const page = await inspected({ inComfyUI: true })
    await begin(page)
    expect(page.text()).toMatch(/6\.1 GB of 17\.2 GB.*412 MB\/s · 27 s left/)
    expect(page.text()).toContain('0 of 2 done')

    page.event('librarian.job', {
      ...page.fake.jobs[0], state: 'done',
      items: [
        { name: 'Flux Schnell', state: 'done', model_id: 'diffusion/flux/flux1-dev-fp8' },
        { name: 'old', state: 'failed', message: 'The file changed while it was being read.' }
      ]
    })
    await settle()
    expect(page.text()).toContain('1 imported, 1 failed')
    expect(page.all('.lib-run-item')[0]?.textContent).toContain('The file changed while it was being read.')
    expect(page.refreshed.times).toBe(1)
    page.button('Show').click()
    await settle()
    expect(page.find('.lib-details h2').textContent).toBe('flux1-dev-fp8')
  })

  test('Retry sends only what failed, as it was described', async () => {
    const page = await inspected()
    page.panel.panel.imports.describe('/srv/downloads/old.ckpt', 'family', 'sdxl')
    await begin(page)
    page.event('librarian.job', {
      ...page.fake.jobs[0], state: 'done',
      items: [{ name: 'a', state: 'done', model_id: 'diffusion/flux/flux1-dev-fp8' }, { name: 'old', state: 'failed', message: 'The disk is full.' }]
    })
    await settle()
    page.button('Retry 1').click()
    await settle()
    const sent = sentTo(page, '/imports')
    expect(sent).toHaveLength(2)
    expect(sent[1].items).toEqual([{ paths: ['/srv/downloads/old.ckpt'], mode: 'auto', metadata: { family: 'sdxl' }, acknowledge_pickle: true }])
    expect(page.text()).toContain('Importing')
  })

  test('cancel asks the server; what was not begun can be taken up again', async () => {
    const page = await inspected()
    await begin(page)
    expect(page.text()).toContain('Cancelling leaves nothing half done')
    page.button('Cancel').click()
    await settle()
    expect(page.fake.requests.map(({ method, path }) => `${method} ${path}`)).toContain('POST /jobs/job-1/cancel')
    expect(page.text()).toContain('Cancelled')
    expect(page.button('Retry 2')).toBeTruthy()
  })

  test('a job whose answer comes after its end is not shown as running', async () => {
    const page = await inspected()
    await begin(page)
    const running = { ...page.fake.jobs[0] }
    page.event('librarian.job', { ...running, state: 'done', items: [] })
    page.event('librarian.job', running)
    await settle()
    expect(page.panel.panel.jobs.find(running.id)?.state).toBe('done')
  })

  test('another can be begun meanwhile, and the first is found again', async () => {
    const page = await inspected()
    await begin(page)
    page.button('Import more').click()
    await settle()
    expect(page.find('#lib-import-paths').value).toBe('')
    expect(page.text()).toContain('Recent imports')
    page.find('.lib-recent button').click()
    await settle()
    expect(page.text()).toContain('0 of 2 done')
  })

  test('it stands as it was left when the tab is closed and opened', async () => {
    const page = await inspected()
    page.panel.unmount(page.element)
    await page.panel.mount(page.element)
    await settle()
    expect(page.text()).toContain('5 things found')
    await begin(page)
    page.panel.unmount(page.element)
    page.event('librarian.job', { ...page.fake.jobs[0], state: 'done', items: [{ name: 'a', state: 'done' }, { name: 'b', state: 'done' }] })
    await page.panel.mount(page.element)
    await settle()
    expect(page.text()).toContain('2 imported')
  })
})

describe('with the keyboard', () => {
  test('Esc goes back one step', async () => {
    const page = await inspected()
    await next(page)
    const step = () => page.find('.lib-steps [aria-current]').textContent.trim()
    expect(step()).toBe('How')
    press(page.find('[data-import-start]'), 'Escape')
    await settle()
    expect(step()).toBe('Describe')
    expect(document.activeElement?.textContent).toContain('5 things found')
    press(page.find('.lib-draft-head input'), 'Escape')
    await settle()
    expect(step()).toBe('Choose')
  })

  test('arrows, Space and Backspace walk the folders of the server', async () => {
    const page = await atImport()
    page.button('Browse…').click()
    await settle()
    const list = () => page.find('.lib-browse-list')
    page.all('[data-row]')[0]?.focus()
    press(list(), 'ArrowRight')
    await settle()
    expect(page.find('.lib-crumbs').textContent).toContain('downloads')
    press(list(), 'ArrowDown')
    press(list(), ' ')
    await settle()
    expect(page.button('Take 1').disabled).toBe(false)
    press(list(), 'Backspace')
    await settle()
    expect(page.text()).toContain('/mnt/two')
    press(list(), 'Escape')
    await settle()
    expect(page.find('#lib-import-paths')).not.toBeNull()
  })
})

describe('folders of the server', () => {
  test('files are picked, and looked at at once', async () => {
    const page = await atImport()
    page.button('Browse…').click()
    await settle()
    page.all('[data-row]')[0]?.click()
    await settle()
    page.all('.lib-browse-entry input')[1]?.click()
    await settle()
    page.button('Take 1').click()
    await settle()
    expect(sentTo(page, '/inspect')).toEqual([{ paths: ['/srv/downloads/flux1-schnell-fp8.safetensors'] }])
    expect(page.text()).toContain('5 things found')
  })

  test('a whole folder can be taken; the line above leads back up', async () => {
    const page = await atImport()
    page.button('Browse…').click()
    await settle()
    page.all('[data-row]')[0]?.click()
    await settle()
    page.all('[data-row]')[0]?.click()
    await settle()
    expect(page.all('.lib-crumbs button').map((button) => button.textContent?.trim())).toEqual(['Folders', 'downloads', 'diffusers'])
    page.find('.lib-browse-all input').click()
    await settle()
    page.all('.lib-crumbs button')[1]?.click()
    await settle()
    expect(page.find('.lib-crumbs [aria-current]').textContent).toContain('downloads')
    page.button('Take 1').click()
    await settle()
    expect(sentTo(page, '/inspect')).toEqual([{ paths: ['/srv/downloads/diffusers'] }])
  })

  test('an empty folder and one that cannot be read say so', async () => {
    const page = await atImport()
    page.button('Browse…').click()
    await settle()
    const usual = page.fake.routes['GET /browse']
    page.fake.routes['GET /browse'] = () => ({ status: 200, body: { path: '/srv/downloads', parent: null, entries: [] } })
    page.all('[data-row]')[0]?.click()
    await settle()
    expect(page.text()).toContain('No models here')
    page.fake.routes['GET /browse'] = () => problem(403, 'storage_error', 'The disk refused', 'Permission denied')
    page.all('.lib-crumbs button')[0]?.click()
    await settle()
    expect(page.find('[role=alert]').textContent).toContain('Permission denied')
    page.fake.routes['GET /browse'] = /** @type {any} */ (usual)
    page.button('Retry').click()
    await settle()
    expect(page.text()).toContain('/mnt/two')
  })
})
