import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { BESIDE, MODEL_ENDINGS, readDrop, sortOut } from '../../web/app/dropped-files.mjs'
import { crumbsOf, outermost } from '../../web/app/stores/folders.mjs'
import { parsePaths } from '../../web/app/text.mjs'
import { problem } from './fake-librarian.mjs'
import { openPanel, settle } from './panel-in-a-page.mjs'

afterEach(() => document.body.replaceChildren())

/** What a browser hands over with a drag. @param {{files?: any[], uris?: string, entries?: any[]}} what */
function transferOf({ files = [], uris = '', entries }) {
  return /** @type {any} */ ({
    types: [...(files.length || entries ? ['Files'] : []), ...(uris ? ['text/uri-list'] : [])],
    files,
    items: (entries ?? files.map((file) => fileEntry(`/${file.name}`, file))).map((entry) => ({ kind: 'file', webkitGetAsEntry: () => entry })),
    getData: (/** @type {string} */ type) => (type === 'text/uri-list' ? uris : ''),
    dropEffect: 'none'
  })
}

/** @param {string} fullPath @param {any} file */
const fileEntry = (fullPath, file) => ({ isFile: true, fullPath, file: (/** @type {any} */ done) => done(file) })

/** @param {string} fullPath @param {any[]} inside told a few at a time, as browsers do */
const folderEntry = (fullPath, inside) => ({
  isFile: false,
  fullPath,
  createReader() {
    let at = 0
    return { readEntries: (/** @type {any} */ done) => done(inside.slice(at, (at += 2))) }
  }
})

/** @param {string} name @param {object} [more] */
const file = (name, more = {}) => Object.assign(new File(['x'], name), more)

/** @param {Element} target @param {string} kind @param {any} [dataTransfer] @param {Element | null} [relatedTarget] */
function drag(target, kind, dataTransfer, relatedTarget = /** @type {Element | null} */ (null)) {
  const event = Object.assign(new Event(kind, { bubbles: true, cancelable: true }), { dataTransfer, relatedTarget, clientX: 0, clientY: 0 })
  target.dispatchEvent(event)
  return event
}

describe('a drop on the panel', () => {
  test('the overlay shows while files are above it, and goes when they leave', async () => {
    const page = await openPanel()
    await settle()
    drag(page.find('.lib-list'), 'dragover', transferOf({ files: [file('a.safetensors')] }))
    await settle()
    expect(page.find('[data-drop-overlay]')).not.toBeNull()
    drag(page.find('.lib-list'), 'dragleave', null, page.find('.lib-header'))
    await settle()
    expect(page.find('[data-drop-overlay]')).not.toBeNull()
    drag(page.find('.lib'), 'dragleave', null, document.body)
    await settle()
    expect(page.find('[data-drop-overlay]')).toBeNull()
    drag(page.find('.lib-list'), 'dragover', transferOf({ files: [file('a.safetensors')] }))
    drag(page.find('.lib'), 'dragleave')
    await settle()
    expect(page.find('[data-drop-overlay]')).toBeNull()
  })

  test('what is dragged out of the page itself is no file', async () => {
    const page = await openPanel()
    await settle()
    drag(page.find('.lib-row'), 'dragstart')
    const event = drag(page.find('.lib-list'), 'dragover', transferOf({ uris: 'https://example.org/' }))
    await settle()
    expect(page.find('[data-drop-overlay]')).toBeNull()
    expect(event.defaultPrevented).toBe(false)
    drag(page.find('.lib-row'), 'dragend')
    drag(page.find('.lib-list'), 'dragover', transferOf({ files: [file('a.safetensors')] }))
    await settle()
    expect(page.find('[data-drop-overlay]')).not.toBeNull()
  })

  test('a drop beside the panel is not ours; one on it goes no further', async () => {
    const page = await openPanel()
    await settle()
    const heard = /** @type {string[]} */ ([])
    const listener = (/** @type {Event} */ event) => heard.push(/** @type {Element} */ (event.target).className)
    document.addEventListener('drop', listener)
    const beside = document.createElement('div')
    beside.className = 'canvas'
    document.body.append(beside)
    const event = drag(beside, 'drop', transferOf({ uris: 'file:///a.safetensors' }))
    drag(page.find('.lib-list'), 'drop', transferOf({ uris: 'file:///srv/a.safetensors' }))
    await settle()
    document.removeEventListener('drop', listener)
    expect(event.defaultPrevented).toBe(false)
    expect(heard).toEqual(['canvas'])
  })

  test('addresses of files are imported by path', async () => {
    const page = await openPanel()
    await settle()
    drag(page.find('.lib-list'), 'drop', transferOf({ uris: '# from a file manager\r\nfile:///srv/with%20space.safetensors\r\nfile://localhost/srv/b.gguf\r\n' }))
    await settle()
    expect(page.fake.requests.find(({ path }) => path === '/inspect')?.body).toEqual({ paths: ['/srv/with space.safetensors', '/srv/b.gguf'] })
    expect(page.text()).toContain('5 things found')
  })

  test('a desktop app tells paths; if the server cannot use them, the files can be sent', async () => {
    const page = await openPanel({ prepare: (fake) => (fake.routes['POST /inspect'] = () => problem(403, 'outside_allowed_roots', 'Outside', 'not there')) })
    await settle()
    drag(page.find('.lib-list'), 'drop', transferOf({ files: [file('a.safetensors', { path: '/home/me/a.safetensors' })] }))
    await settle()
    expect(page.fake.requests.find(({ path }) => path === '/inspect')?.body).toEqual({ paths: ['/home/me/a.safetensors'] })
    expect(page.button('Upload them')).toBeTruthy()
  })

  test('an address of a web page is no file, and that is said', async () => {
    const page = await openPanel()
    await settle()
    drag(page.find('.lib-list'), 'drop', transferOf({ uris: 'https://huggingface.co/someone/model' }))
    await settle()
    expect(page.find('.lib-toasts').textContent).toContain('That is not a file')
  })

  test('files that are no models are left out, and named', async () => {
    const page = await openPanel()
    await settle()
    drag(page.find('.lib-list'), 'drop', transferOf({ files: [file('holiday.mp4')] }))
    await settle()
    expect(page.find('.lib-toasts').textContent).toContain('holiday.mp4')
  })
})

describe('uploads in the wizard', () => {
  /** @param {string} name @param {object} [more] */
  const upload = (name, more = {}) => ({ key: name, name, size: 1000, sent: 250, state: 'sending', id: `id-${name}`, error: null, ...more })
  /** @param {string} name @param {object} [more] */
  const group = (name, more = {}) => ({ name, format: 'single-file', files: [{ path: name, size: 1000, upload: `id-${name}` }], size_bytes: 1000, complete: true, missing_shards: [], guess: { official_name: name, subtype: 'loras' }, security_tier: 'safe', duplicate_of: null, importable: true, problem: null, ...more })

  /** @param {object[]} uploads */
  async function with_(uploads) {
    const page = await openPanel({ prepare: (fake) => (fake.routes['POST /inspect'] = () => ({ status: 200, body: { groups: [group('a.safetensors'), group('b.safetensors', { importable: false, problem: 'This is a web page.' })] } })) })
    await settle()
    page.panel.panel.view.go('import')
    page.panel.panel.uploads.set({ uploads: /** @type {any} */ (uploads) })
    await settle()
    return page
  }

  test('show how far they are, and can be paused and cancelled one by one', async () => {
    const page = await with_([upload('a.safetensors'), upload('b.safetensors', { state: 'paused' }), upload('c.safetensors', { state: 'failed', error: { code: 'insufficient_space', title: 'Not enough room', detail: '2 GB are needed' } })])
    expect(page.text()).toContain('0 of 3 files uploaded')
    expect(page.text()).toContain('250 bytes of 1 kB (25%)')
    expect(page.text()).toContain('Not enough room · 2 GB are needed')
    expect(page.button('Pause a.safetensors')).toBeTruthy()
    expect(page.button('Go on with b.safetensors')).toBeTruthy()
    expect(page.button('Retry c.safetensors')).toBeTruthy()
    page.button('Cancel b.safetensors').click()
    await settle()
    expect(page.text()).toContain('0 of 2 files uploaded')
    page.button('Cancel a.safetensors').click()
    page.button('Cancel c.safetensors').click()
    await settle()
    expect(page.find('.lib-uploads')).toBeNull()
  })

  test('are looked at once they are here, and imported by their ids; what is of no use is removed', async () => {
    const page = await with_([upload('a.safetensors'), upload('b.safetensors')])
    const sent = (/** @type {string} */ path) => page.fake.requests.filter((request) => request.path === path).map(({ body }) => body)
    page.panel.panel.uploads.set({ uploads: /** @type {any} */ ([upload('a.safetensors', { state: 'done' }), upload('b.safetensors')]) })
    await settle()
    expect(sent('/inspect')).toEqual([])
    page.panel.panel.uploads.set({ uploads: /** @type {any} */ (['a', 'b'].map((name) => upload(`${name}.safetensors`, { state: 'done' }))) })
    await settle()
    expect(sent('/inspect')).toEqual([{ uploads: ['id-a.safetensors', 'id-b.safetensors'] }])
    page.button('Next').click()
    await settle()
    expect(page.all('[name=lib-import-mode]')).toEqual([])
    expect(page.text()).toContain('1 uploaded file (1 kB) is placed in the library')
    page.find('[data-import-start]').click()
    await settle()
    expect(sent('/imports')[0].items).toEqual([{ uploads: ['id-a.safetensors'], metadata: {}, acknowledge_pickle: false }])
    expect(page.panel.panel.uploads.get().uploads).toEqual([])
  })

  test('what lies beside a model comes along with it, and goes from the list with it', async () => {
    const page = await with_([upload('a.safetensors'), upload('a.png'), upload('b.png'), upload('b.safetensors')])
    const beside = (/** @type {string} */ name) => ({ beside: [{ path: name, size: 1000, upload: `id-${name}` }] })
    page.fake.routes['POST /inspect'] = () => ({ status: 200, body: { groups: [group('a.safetensors', beside('a.png')), group('b.safetensors', { ...beside('b.png'), importable: false, problem: 'This is a web page.' })] } })
    page.panel.panel.uploads.set({ uploads: /** @type {any} */ (page.panel.panel.uploads.get().uploads.map((one) => ({ ...one, state: 'done' }))) })
    await settle()
    expect(page.find('.lib-draft-files').textContent).toContain('a.png')
    page.button('Next').click()
    await settle()
    page.find('[data-import-start]').click()
    await settle()
    const sent = page.fake.requests.find(({ path }) => path === '/imports')?.body
    expect(sent.items).toEqual([{ uploads: ['id-a.safetensors'], beside: ['id-a.png'], metadata: {}, acknowledge_pickle: false }])
    expect(page.panel.panel.uploads.get().uploads).toEqual([])
  })

  test('wait for the person when one of them failed', async () => {
    const page = await with_([upload('a.safetensors')])
    page.panel.panel.uploads.set({ uploads: /** @type {any} */ ([upload('a.safetensors', { state: 'done' }), upload('b.safetensors', { state: 'failed' })]) })
    await settle()
    expect(page.fake.requests.some(({ path }) => path === '/inspect')).toBe(false)
    page.button('Inspect').click()
    await settle()
    expect(page.fake.requests.find(({ path }) => path === '/inspect')?.body).toEqual({ uploads: ['id-a.safetensors'] })
  })

  test('a page that is left while it sends asks first', async () => {
    const page = await with_([upload('a.safetensors')])
    const leave = () => {
      const event = new Event('beforeunload', { cancelable: true })
      window.dispatchEvent(event)
      return event.defaultPrevented
    }
    expect(leave()).toBe(true)
    page.panel.panel.uploads.set({ uploads: [] })
    expect(leave()).toBe(false)
  })
})

describe('what was chosen', () => {
  test('folders are walked to their end, and paths in them kept', async () => {
    const inside = ['1', '2', '3'].map((part) => fileEntry(`/set/a-${part}.safetensors`, file(`a-${part}.safetensors`)))
    const top = folderEntry('/set', [...inside, folderEntry('/set/deep', [fileEntry('/set/deep/b.ckpt', file('b.ckpt'))])])
    const found = await readDrop(transferOf({ entries: [top] })).files()
    expect(found.map(({ path }) => path)).toEqual(['set/a-1.safetensors', 'set/a-2.safetensors', 'set/a-3.safetensors', 'set/deep/b.ckpt'])
  })

  test('models, the index of a set, and all of a Diffusers folder are taken; hidden files are not mentioned', () => {
    const paths = ['a.safetensors', 'b.bin.part1', 'x/model.safetensors.index.json', 'pipe/model_index.json', 'pipe/unet/config.json', 'pipeline/readme.md', 'me.jpg', '.DS_Store', 'x/.git/a.bin']
    const { taken, leftOut } = sortOut(paths.map((path) => ({ path, file: file(path) })))
    expect(taken.map(({ path }) => path)).toEqual(['a.safetensors', 'b.bin.part1', 'x/model.safetensors.index.json', 'pipe/model_index.json', 'pipe/unet/config.json'])
    expect(leftOut).toEqual(['pipeline/readme.md', 'me.jpg'])
  })

  test('what lies beside a model is taken with it, by its name and size', () => {
    const sized = (/** @type {string} */ path, /** @type {number} */ size) => ({ path, file: /** @type {File} */ ({ name: path, size }) })
    const beside = ['a.png', 'a.preview.MP4', 'a.civitai.info', 'x/b.json', 'x/set.webp', 'x/cut.txt'].map((path) => sized(path, 10))
    const others = [sized('a.other.png', 10), sized('x/a.png', 10), sized('ab.png', 10), sized('a.md', 0), sized('a.txt', 5_000_000), sized('a.gif', 70_000_000)]
    const models = ['a.safetensors', 'x/b.gguf', 'x/set-00001-of-00002.safetensors', 'x/set-00002-of-00002.safetensors', 'x/cut.ckpt.part1of2'].map((path) => sized(path, 10))
    const { taken, leftOut } = sortOut([...others, ...beside, ...models])
    expect(taken).toEqual([...beside, ...models])
    expect(leftOut).toEqual(others.map(({ path }) => path))
    expect(sortOut(beside).taken).toEqual([])
  })

  test('what may lie beside a model is what the server knows', () => {
    const core = (/** @type {string} */ path) => readFileSync(join(import.meta.dirname, '..', '..', 'core', path), 'utf8')
    const sidecars = core('formats/sidecars.py')
    const texts = (/** @type {string} */ name) => [...(new RegExp(`^${name} = (\\([^)]+\\)|".*")`, 'm').exec(sidecars)?.[1] ?? '').matchAll(/"([^"]+)"/g)].map((found) => found[1])
    const bytes = (/** @type {string} */ name) => Number(new RegExp(`^${name} = (\\d+) \\* 1024 \\* 1024$`, 'm').exec(sidecars)?.[1]) * 1024 * 1024
    const pictures = [...texts('PICTURE_ENDINGS'), ...texts('MOVING_ENDINGS')].map((ending) => [ending, bytes('MAX_PREVIEW_BYTES')])
    const records = ['LORA_MANAGER', 'CIVITAI_HELPER', 'USER_METADATA', 'MODEL_MANAGER', 'UNREAD_ENDINGS'].flatMap(texts).map((ending) => [ending, bytes('MAX_BYTES')])
    expect(records).toHaveLength(7)
    expect(Object.fromEntries([...pictures, ...records])).toEqual(BESIDE)
  })

  test('the endings of models are those of the server', () => {
    const settings = readFileSync(join(import.meta.dirname, '..', '..', 'core', 'settings.py'), 'utf8')
    const listed = /MODEL_EXTENSIONS = frozenset\(\s*\{([^}]+)\}/.exec(settings)?.[1] ?? ''
    expect([...listed.matchAll(/"\.(\w+)"/g)].map((found) => found[1]).sort()).toEqual([...MODEL_ENDINGS].sort())
  })

  test.each([
    ['file:/a/b.pt', '/a/b.pt'],
    ['file://localhost/a/b.pt', '/a/b.pt'],
    ['file://nas/share/b.pt', '//nas/share/b.pt'],
    ['file:///a/100%25.pt', '/a/100%.pt'],
    ['file:///a/100%.pt', '/a/100%.pt'],
    ["'/a/it is.pt'", '/a/it is.pt']
  ])('%s is %s', (written, path) => expect(parsePaths(written)).toEqual([path]))
})

describe('the way to a folder', () => {
  const roots = [{ name: '/srv', path: '/srv', is_dir: true }, { name: '/srv/models', path: '/srv/models', is_dir: true }, { name: 'D:\\m', path: 'D:\\m', is_dir: true }, { name: '/', path: '/', is_dir: true }]
  test.each([
    ['/srv/models/loras/x', ['/srv/models', '/srv/models/loras', '/srv/models/loras/x']],
    ['/srvx', ['/', '/srvx']],
    ['D:\\m\\loras', ['D:\\m', 'D:\\m\\loras']],
    ['', []]
  ])('%s', (path, expected) => expect(crumbsOf(path, path.startsWith('/srvx') ? roots : roots.slice(0, 3)).map((crumb) => crumb.path)).toEqual(expected))

  test('folders that lie in another allowed one are not listed beside it', () => {
    const paths = ['/m/loras', '/m', '/m-other', 'D:\\m', 'D:\\m\\vae']
    expect(outermost(paths.map((path) => ({ name: path, path, is_dir: true }))).map(({ path }) => path)).toEqual(['/m', '/m-other', 'D:\\m'])
  })
})
