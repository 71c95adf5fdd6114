import { beforeEach, describe, expect, test } from 'vitest'
import { createUploads } from '../../web/app/stores/uploads.mjs'
import { createFakeTus } from './fake-tus.mjs'

/** @import { Upload } from '../../web/app/stores/uploads.mjs' */

beforeEach(() => localStorage.clear())

const api = /** @type {any} */ ({ url: (/** @type {string} */ path) => `http://127.0.0.1:8188/comfy/api/librarian${path}` })

/** @param {ReturnType<typeof createFakeTus>} fake */
const open = (fake) => createUploads(api, { httpStack: fake.stack, retryDelays: [0, 0, 0] })

/** @param {string} path @param {string} text */
const chosen = (path, text = `bytes of ${path}`) => ({
  path,
  file: new File([text], path.split('/').pop() ?? '', { lastModified: 1 })
})

/** @param {ReturnType<typeof open>} uploads @param {(upload: Upload[]) => boolean} wanted */
async function until(uploads, wanted) {
  for (let turn = 0; turn < 2000; turn++) {
    if (wanted(uploads.get().uploads)) return uploads.get().uploads
    await new Promise((resolve) => setTimeout(resolve))
  }
  throw new Error(JSON.stringify(uploads.get().uploads))
}

/** @param {Upload[]} list */
const ended = (list) => list.every(({ state }) => state === 'done' || state === 'failed')
/** @param {ReturnType<typeof createFakeTus>} fake @param {string} id */
const textOf = (fake, id) => new TextDecoder().decode(Uint8Array.from(fake.files.get(id)?.data ?? []))
/** @returns {{promise: Promise<void>, open: () => void}} */
function gate() {
  let open = () => {}
  const promise = /** @type {Promise<void>} */ (new Promise((resolve) => { open = () => resolve() }))
  return { promise, open }
}

describe('uploads', () => {
  test('a dropped folder arrives with its paths, two files at a time', async () => {
    const fake = createFakeTus()
    const uploads = open(fake)
    const files = ['FLUX/model_index.json', 'FLUX/vae/α.safetensors', 'c.gguf', 'd.gguf', 'e.gguf'].map((path) => chosen(path))
    const keys = uploads.add(files)
    expect(uploads.get().uploads.map(({ name, state }) => [name, state])[2]).toEqual(['c.gguf', 'waiting'])
    const list = await until(uploads, ended)
    expect(list.map(({ key, state, error }) => [key, state, error])).toEqual(keys.map((key) => [key, 'done', null]))
    for (const { id, name, size, sent } of list) {
      expect(fake.files.get(id)?.relativePath).toBe(name)
      expect(textOf(fake, id)).toBe(`bytes of ${name}`)
      expect(sent).toBe(size)
    }
    expect(fake.most.sending).toBe(2)
  })

  test('goes on where it stood when the connection breaks, and says how far it is', async () => {
    const fake = createFakeTus()
    fake.breaksAfter = 5
    const uploads = open(fake)
    /** @type {number[]} */
    const sent = []
    uploads.subscribe(() => sent.push(uploads.get().uploads[0]?.sent ?? 0))
    uploads.add([chosen('a.gguf', 'twelve bytes')])
    const [upload] = await until(uploads, ended)
    expect(upload?.state).toBe('done')
    expect(textOf(fake, upload?.id ?? '')).toBe('twelve bytes')
    expect(fake.requests).toEqual(['POST', 'PATCH 0', 'HEAD', 'PATCH 5'])
    expect(sent).toContain(5)
  })

  test('waits while the server is still busy with the broken attempt', async () => {
    const fake = createFakeTus()
    const uploads = open(fake)
    fake.faults = [/** @type {any} */ (undefined), { status: 423, code: 'upload_busy' }, /** @type {any} */ (undefined), { status: 409, code: 'upload_offset' }]
    uploads.add([chosen('a.gguf')])
    const [upload] = await until(uploads, ended)
    expect(upload?.state).toBe('done')
  })

  test.each([
    [{ status: 507, code: 'insufficient_space', detail: 'Not enough room.' }],
    [{ status: 409, code: 'too_many_uploads', detail: 'Import some.' }],
    [{ status: 403, code: 'forbidden', detail: 'Not from here.' }]
  ])('says at once what cannot pass by itself: %j', async (problem) => {
    const fake = createFakeTus()
    fake.faults = [problem]
    const uploads = open(fake)
    uploads.add([chosen('a.gguf'), chosen('b.gguf')])
    const [first, second] = await until(uploads, ended)
    expect(first).toMatchObject({ state: 'failed', error: problem })
    expect(second?.state).toBe('done')
    expect(fake.requests.filter((request) => request === 'POST')).toHaveLength(2)

    uploads.retry(first?.key ?? '')
    expect((await until(uploads, ended))[0]).toMatchObject({ state: 'done', error: null })
  })

  test('gives up when nobody answers, and goes on from there when asked', async () => {
    const fake = createFakeTus()
    fake.breaksAfter = 4
    const uploads = open(fake)
    fake.faults = [/** @type {any} */ (undefined), /** @type {any} */ (undefined), null, null, null, null]
    uploads.add([chosen('a.gguf')])
    const [upload] = await until(uploads, ended)
    expect(upload).toMatchObject({ state: 'failed', sent: 4, error: { code: 'unreachable' } })
    fake.faults = []
    uploads.retry(upload?.key ?? '')
    await until(uploads, ended)
    expect(fake.requests.slice(-2)).toEqual(['HEAD', 'PATCH 4'])
    expect(fake.files.size).toBe(1)
  })

  test('a file that cannot be read any more is told from a server that is gone', async () => {
    const fake = createFakeTus()
    const uploads = open(fake)
    const gone = chosen('a.gguf')
    gone.file.slice = () => /** @type {any} */ ({ size: 1, arrayBuffer: async () => { throw new Error('It was moved.') } })
    uploads.add([gone])
    const [upload] = await until(uploads, ended)
    expect(upload).toMatchObject({ state: 'failed', error: { code: 'source_changed', detail: 'It was moved.' } })
  })

  test('pausing keeps what came, and lets the next one go', async () => {
    const fake = createFakeTus()
    const { promise, open: release } = gate()
    fake.gate = promise
    const uploads = open(fake)
    const [first = '', , third = ''] = uploads.add([chosen('a.gguf'), chosen('b.gguf'), chosen('c.gguf')])
    await until(uploads, () => fake.requests.filter((request) => request === 'PATCH 0').length === 2)
    uploads.pause(first)
    uploads.pause(first)
    await until(uploads, (list) => list.find(({ key }) => key === third)?.state === 'sending')
    release()
    await until(uploads, (list) => list.every(({ key, state }) => state === (key === first ? 'paused' : 'done')))
    uploads.retry(first)
    const list = await until(uploads, ended)
    expect(list.map(({ state }) => state)).toEqual(['done', 'done', 'done'])
    expect(fake.files.size).toBe(3)
  })

  test('cancelling removes it, here and there', async () => {
    const fake = createFakeTus()
    const uploads = open(fake)
    const [key = '', waiting = ''] = uploads.add([chosen('a.gguf'), chosen('b.gguf')])
    uploads.cancel(waiting)
    await until(uploads, ended)
    expect(uploads.get().uploads.map(({ name }) => name)).toEqual(['a.gguf'])
    uploads.cancel(key)
    expect(uploads.get().uploads).toEqual([])
    await until(uploads, () => fake.files.size === 0)
    await until(uploads, () => localStorage.length === 0)
  })

  test('dropped again after the page was loaded anew, it goes on; twice in one page, it is one', async () => {
    const fake = createFakeTus()
    fake.breaksAfter = 3
    const before = open(fake)
    fake.faults = [/** @type {any} */ (undefined), /** @type {any} */ (undefined), null, null, null, null]
    before.add([chosen('a.gguf')])
    await until(before, ended)
    fake.faults = []

    const after = open(fake)
    after.add([chosen('a.gguf'), chosen('a.gguf')])
    after.add([chosen('a.gguf')])
    const list = await until(after, ended)
    expect(list.map(({ state }) => state)).toEqual(['done'])
    expect(fake.requests.slice(-2)).toEqual(['HEAD', 'PATCH 3'])

    after.forget([list[0]?.id ?? ''])
    expect(after.get().uploads).toEqual([])
    await until(after, () => localStorage.length === 0)
    expect(fake.files.size).toBe(1)
  })

  test('what the server has forgotten is sent anew', async () => {
    const fake = createFakeTus()
    const before = open(fake)
    before.add([chosen('a.gguf')])
    await until(before, ended)
    fake.files.clear()
    const after = open(fake)
    after.add([chosen('a.gguf')])
    const [upload] = await until(after, ended)
    expect(upload?.state).toBe('done')
    expect(textOf(fake, upload?.id ?? '')).toBe('bytes of a.gguf')
  })
})
