/**
 * The standalone page on top of the fake Librarian, to look at the panel:
 *
 *     node tests/js/serve-fake.mjs [port] [number of models]
 *
 * `POST /fake` with `{route: "GET /status", status, body, delay}` replaces an answer, `{reset: true}`
 * brings the usual ones back, `{event, data}` sends an event.
 */
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createFakeLibrarian } from './fake-librarian.mjs'

const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..')
const [port = '8199', models = '10000'] = process.argv.slice(2)
const KINDS = /** @type {Record<string, string>} */ ({ '.mjs': 'text/javascript', '.css': 'text/css', '.html': 'text/html', '.json': 'application/json' })

let fake = createFakeLibrarian({ models: Number(models) })
/** @type {Map<string, {status: number, body: unknown, delay?: number}>} */
const replaced = new Map()
/** @type {Set<import('node:http').ServerResponse>} */
const listening = new Set()

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  /** @type {Buffer[]} */
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const body = text ? JSON.parse(text) : null
  const send = (/** @type {number} */ status, /** @type {string} */ kind, /** @type {string | Buffer} */ data) =>
    response.writeHead(status, { 'Content-Type': kind, 'Cache-Control': 'no-cache' }).end(data)
  try {
    if (url.pathname === '/fake') {
      if (body.reset) {
        replaced.clear()
        fake = createFakeLibrarian({ models: Number(body.models ?? models) })
      } else if (body.event) {
        for (const one of listening) one.write(`event: ${body.event}\ndata: ${JSON.stringify(body.data)}\n\n`)
      } else replaced.set(body.route, body)
      return send(200, 'application/json', '{}')
    }
    if (url.pathname === '/') return send(200, 'text/html', await readFile(join(ROOT, 'web', 'index.html')))
    if (url.pathname === '/librarian/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
      response.write(':\n\n')
      listening.add(response)
      request.on('close', () => listening.delete(response))
      return response
    }
    if (url.pathname.startsWith('/librarian/web/')) {
      const path = normalize(url.pathname.slice('/librarian/web/'.length)).replace(/^(\.\.[/\\])+/, '')
      return send(200, KINDS[extname(path)] ?? 'text/plain', await readFile(join(ROOT, 'web', path)))
    }
    if (url.pathname.startsWith('/librarian/locales/')) {
      const language = url.pathname.endsWith('/zh') || url.pathname.includes('/zh-') ? 'zh' : 'en'
      return send(200, 'application/json', await readFile(join(ROOT, 'locales', language, 'main.json')))
    }
    const other = replaced.get(`${request.method} ${url.pathname.replace('/librarian', '')}`)
    if (other?.delay) await new Promise((resolve) => setTimeout(resolve, other.delay))
    if (other?.status === 0) return response.destroy()
    const given = other ?? fake.handle(request.method ?? 'GET', request.url ?? '/', body)
    return send(given.status, 'application/json', JSON.stringify(given.body))
  } catch (error) {
    return send(500, 'text/plain', String(error))
  }
})
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/`))
