/** @import { HttpRequest, HttpStack } from '../../web/vendor/tus/browser/index.mjs' */

/**
 * A server of the tus protocol in memory, in the place of XMLHttpRequest. Its faults are set by the test.
 */
export function createFakeTus() {
  /** @type {Map<string, {size: number, data: number[], relativePath: string}>} */
  const files = new Map()
  const fake = {
    files,
    /** Each request as «METHOD offset». @type {string[]} */
    requests: [],
    /** Answers given instead, oldest first: a problem, or `null` for none at all. @type {({status: number, code: string, detail?: string} | null)[]} */
    faults: [],
    /** The connection breaks after so many bytes, once. @type {number | null} */
    breaksAfter: null,
    /** Requests with bytes wait until this resolves. @type {Promise<void>} */
    gate: Promise.resolve(),
    /** @type {HttpStack} */
    stack: { createRequest: (method, url) => request(method, url), getName: () => 'fake' }
  }
  let sending = 0
  let count = 0
  const most = { sending: 0 }

  /** @param {string} method @param {string} url @returns {HttpRequest} */
  function request(method, url) {
    /** @type {Record<string, string>} */
    const headers = {}
    let aborted = false
    /** @type {(bytes: number) => void} */
    let progress = () => {}
    /** @param {number} status @param {Record<string, string>} [answered] @param {unknown} [body] */
    const respond = (status, answered = {}, body = null) => ({
      getStatus: () => status,
      getHeader: (/** @type {string} */ name) => /** @type {any} */ (answered[name] ?? null),
      getBody: () => (body ? JSON.stringify(body) : ''),
      getUnderlyingObject: () => null
    })

    return {
      getMethod: () => method,
      getURL: () => url,
      setHeader: (name, value) => void (headers[name] = value),
      getHeader: (name) => headers[name],
      setProgressHandler: (handler) => void (progress = handler),
      getUnderlyingObject: () => null,
      abort: async () => void (aborted = true),
      async send(body) {
        if (headers['Tus-Resumable'] !== '1.0.0') throw new Error('no tus')
        fake.requests.push([method, headers['Upload-Offset']].filter(Boolean).join(' '))
        const fault = fake.faults.shift()
        if (fault === null) throw new Error('nobody there')
        if (fault) return respond(fault.status, {}, { title: '', ...fault })
        const id = new URL(url).pathname.split('/').pop() ?? ''
        if (method === 'POST') {
          const pairs = headers['Upload-Metadata']?.split(',').map((pair) => pair.split(' ')) ?? []
          const path = pairs.find(([name]) => name === 'relativePath')?.[1] ?? ''
          const bytes = Uint8Array.from(atob(path), (letter) => letter.charCodeAt(0))
          files.set(`id${++count}`, { size: Number(headers['Upload-Length']), data: [], relativePath: new TextDecoder().decode(bytes) })
          return respond(201, { Location: `/elsewhere/uploads/id${count}` })
        }
        const file = files.get(id)
        if (!file) return respond(404, {}, { code: 'not_found' })
        if (method === 'DELETE') {
          files.delete(id)
          return respond(204)
        }
        if (method === 'PATCH') {
          most.sending = Math.max(most.sending, ++sending)
          await fake.gate
          sending -= 1
          if (Number(headers['Upload-Offset']) !== file.data.length) return respond(409, {}, { code: 'upload_offset' })
          const bytes = new Uint8Array(await body.arrayBuffer())
          const part = fake.breaksAfter === null ? bytes : bytes.slice(0, fake.breaksAfter)
          if (!aborted) file.data.push(...part)
          progress(part.length)
          if (part.length < bytes.length) {
            fake.breaksAfter = null
            throw new Error('the connection broke')
          }
        }
        if (aborted) return new Promise(() => {})
        return respond(method === 'HEAD' ? 200 : 204, {
          'Upload-Offset': String(file.data.length), 'Upload-Length': String(file.size)
        })
      }
    }
  }

  return Object.assign(fake, { most })
}
