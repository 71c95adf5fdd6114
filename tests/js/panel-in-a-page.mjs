/** Mounts the whole panel on top of a fake Librarian, and helps to use it as a person would. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPanel } from '../../web/app/main.mjs'
import { learnNode } from '../../web/app/nodes/loaders.mjs'
import { createFakeLibrarian } from './fake-librarian.mjs'

const words = (/** @type {string} */ language) =>
  JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'locales', language, 'main.json'), 'utf8'))

/**
 * @param {{models?: number, inComfyUI?: boolean, down?: boolean, language?: string, prepare?: (fake: ReturnType<typeof createFakeLibrarian>) => void}} [options]
 */
export async function openPanel({ models = 40, inComfyUI = false, down = false, language = 'en', prepare } = {}) {
  const fake = createFakeLibrarian({ models })
  prepare?.(fake)
  /** Nobody answers while this is set. */
  const network = { down }
  /** @type {Map<string, (data: any) => void>} */
  const listeners = new Map()
  /** @type {{nodeId: string, widgets: Record<string, string>}[]} */
  const added = []
  const refreshed = { times: 0 }
  /** What the tab's button says. */
  const badge = { count: 0 }

  /** @type {import('../../web/app/types.mjs').GraphHost} */
  const graph = {
    add(nodeId, widgets) {
      added.push({ nodeId, widgets })
      return true
    },
    at: () => null,
    serialize: () => null,
    ours: () => [],
    set: () => {},
    replace: () => []
  }
  for (const [name, subtype] of Object.entries({ LibrarianLoadLora: 'loras', LibrarianLoadUpscaleModel: 'upscale_models' })) {
    learnNode({ name, input: { required: { model_id: ['STRING', { librarian: { subtypes: [subtype] } }] } } })
  }

  /** @type {import('../../web/app/types.mjs').Host} */
  const host = {
    kind: inComfyUI ? 'comfyui' : 'page',
    url: (path) => `http://localhost/${path}`,
    async fetch(path, init = {}) {
      if (network.down) throw new TypeError('Failed to fetch')
      if (path.startsWith('/librarian/locales/')) return Response.json(words(path.slice('/librarian/locales/'.length)))
      const method = init.method ?? 'GET'
      const given = fake.handle(method, path, init.body ? JSON.parse(String(init.body)) : null)
      init.signal?.throwIfAborted()
      return new Response(JSON.stringify(given.body), { status: given.status, headers: { 'Content-Type': 'application/json' } })
    },
    on(name, listener) {
      listeners.set(name, listener)
      return () => listeners.delete(name)
    },
    toast: () => false,
    refreshNodes: async () => void (refreshed.times += 1),
    badge: (count) => void (badge.count = count),
    open: () => {},
    graph: inComfyUI ? graph : null,
    language: () => language
  }

  const element = document.createElement('div')
  document.body.replaceChildren(element)
  const panel = createPanel(host)
  await panel.mount(element)

  return {
    fake, element, panel, network, added, refreshed, badge,
    /** @param {string} name @param {any} data */
    event: (name, data) => listeners.get(name)?.(data),
    /** @param {string} selector */
    all: (selector) => /** @type {HTMLElement[]} */ ([...element.querySelectorAll(selector)]),
    /** @param {string} selector @returns {any} */
    find: (selector) => element.querySelector(selector),
    text: () => element.textContent?.replace(/\s+/g, ' ') ?? '',
    /** The button (or other element with that role) of this name. @param {string | RegExp} name */
    button(name) {
      const buttons = /** @type {HTMLElement[]} */ ([...element.querySelectorAll('button')])
      const found = buttons.find((one) => {
        const label = one.getAttribute('aria-label') ?? one.textContent?.trim() ?? ''
        return typeof name === 'string' ? label === name : name.test(label)
      })
      if (!found) throw new Error(`there is no button ${name}; there are: ${buttons.map((one) => one.getAttribute('aria-label') ?? one.textContent?.trim()).join(' | ')}`)
      return /** @type {HTMLButtonElement} */ (found)
    },
    /** How often the list was asked for, and with what. */
    listCalls: () => fake.requests.filter(({ path }) => path === '/models').map(({ query }) => query.get('q') ?? '')
  }
}

/** Let answers arrive and be drawn. */
export async function settle() {
  for (let round = 0; round < 8; round += 1) await new Promise((resolve) => setTimeout(resolve, 0))
}

/** Type as a keyboard does: one key after the other. @param {any} input @param {string} text @param {(() => void) | undefined} [between] */
export function type(input, text, between) {
  input.focus()
  for (const letter of text) {
    input.value += letter
    input.dispatchEvent(new Event('input', { bubbles: true }))
    between?.()
  }
}

/** @param {any} element @param {string} key */
export function press(element, key) {
  element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))
}
