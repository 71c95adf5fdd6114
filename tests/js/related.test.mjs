import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { relatedTo } from '../../web/app/remote-files.mjs'
import { fakeModel, fakeRecord, problem } from './fake-librarian.mjs'
import { openPanel, settle } from './panel-in-a-page.mjs'

beforeEach(() => sessionStorage.clear())
afterEach(() => document.body.replaceChildren())

const PARTS = [1, 2, 3].map((n) => `text/model-0000${n}-of-00003.safetensors`)
const FILES = [
  ...PARTS.map((path) => ({ path, size: 4_000_000_000 })),
  { path: 'text/model.safetensors.index.json', size: 20_000 },
  { path: 'vae/ae.safetensors', size: 335_000_000 },
  { path: 'vae/ae.bin', size: 335_000_000 },
  { path: 'old.safetensors', size: 2_000_000_000 },
  { path: 'old.yaml', size: 2_000 },
  { path: 'README.md', size: 10 }
]

/** @param {string[]} paths */
const here = (...paths) => paths.map((path) => ({ name: path.split('/').pop() ?? '', path: `/srv/${path}` }))

describe('what belongs to a file of a repository', () => {
  test('the missing parts of its set come with all that are here', () => {
    const [parts, vae, ...others] = relatedTo(FILES, PARTS[0] ?? '', here(...PARTS.slice(0, 2)))
    expect(parts).toMatchObject({ name: 'text/model.safetensors', missing: 1, size: 4_000_000_000, withOwn: true })
    expect(parts?.paths).toEqual([...PARTS, 'text/model.safetensors.index.json'])
    expect(vae).toMatchObject({ paths: ['vae/ae.safetensors'], missing: 0, withOwn: false })
    expect(others).toEqual([])
  })

  test('nothing is missing of a whole set, or of one that is not here at all', () => {
    expect(relatedTo(FILES, PARTS[0] ?? '', here(...PARTS)).map(({ name }) => name)).toEqual(['vae/ae.safetensors'])
    expect(relatedTo(FILES, PARTS[0] ?? '', here('other.safetensors')).map(({ missing }) => missing)).toEqual([0])
  })

  test('a config comes with its model, one that is here not again, and no other', () => {
    const found = relatedTo(FILES, 'old.safetensors', here('old.safetensors', 'ae.safetensors'))
    expect(found.find(({ name }) => name === 'old.yaml')).toMatchObject({ paths: ['old.safetensors', 'old.yaml'], withOwn: true })
    expect(found.some(({ name }) => name === 'vae/ae.safetensors')).toBe(false)
    expect(relatedTo(FILES, 'vae/ae.safetensors', [])).toEqual([])
    expect(relatedTo(FILES, 'not-there.safetensors', [])).toEqual([])
  })

  test('a pickle is offered only where there is nothing else', () => {
    const files = [{ path: 'model.ckpt', size: 1 }, { path: 'vae/ae.bin', size: 1 }]
    expect(relatedTo(files, 'model.ckpt', here('model.ckpt'))).toMatchObject([{ name: 'vae/ae.bin', pickle: true }])
  })
})

const MATCH = {
  provider: 'huggingface', repo_id: 'org/llm', revision: 'c'.repeat(40), file_name: PARTS[0], match_method: 'hash', match_confidence: 1, requires_confirmation: false,
  hash_mismatch: false
}

/** @param {any} fake */
function withMatch(fake) {
  fake.routes['POST /lookup'] = () => ({ status: 200, body: { found: true, candidates: [MATCH, { ...MATCH, repo_id: 'org/copy' }] } })
  fake.routes['GET /remote/files'] = () => ({ status: 200, body: { files: FILES, complete: true } })
}

/** @param {any} page @param {string} path */
const sentTo = (page, path) => page.fake.requests.filter((/** @type {any} */ one) => one.method === 'POST' && one.path === path).map((/** @type {any} */ { body }) => body)
/** @param {any} page */
const listed = (page) => page.fake.requests.filter((/** @type {any} */ { path }) => path === '/remote/files').map((/** @type {any} */ { query }) => [query.get('repo_id'), query.get('revision')])

describe('the files that belong to a match', () => {
  test('are listed in the details after a lookup, of the best match at once, and one click has them', async () => {
    const model = fakeModel(2)
    const files = PARTS.slice(0, 2).map((path) => ({ name: path.split('/').pop(), path: `/srv/models/${path}`, size: 4_000_000_000, exists: true }))
    const page = await openPanel({
      prepare: (fake) => {
        withMatch(fake)
        fake.routes['GET /models/*'] = () => ({ status: 200, body: { ...fakeRecord(model), files } })
      }
    })
    await settle()
    page.panel.panel.details.open(model.model_id)
    await settle()
    page.button('Look up').click()
    await settle()
    expect(listed(page)).toEqual([['org/llm', MATCH.revision]])
    const related = page.find('.lib-related')
    expect(related.textContent).toContain('1 part is missing here')
    expect(related.textContent).toContain('vae/ae.safetensors')
    page.button('Download what is missing').click()
    await settle()
    page.button('Download').click()
    await settle()
    const [parts, vae] = sentTo(page, '/downloads')
    expect(parts).toEqual({
      provider: 'huggingface', repo_id: 'org/llm', revision: MATCH.revision, files: [...PARTS, 'text/model.safetensors.index.json'], link: true,
      here: files.map(({ path }) => path), uploads: []
    })
    expect(vae).toEqual({ provider: 'huggingface', repo_id: 'org/llm', revision: MATCH.revision, files: ['vae/ae.safetensors'], link: true })
    expect(page.all('.lib-related .lib-download')).toHaveLength(2)
  })

  test('say why they cannot be listed, and why a download does not begin', async () => {
    const page = await openPanel({
      prepare: (fake) => {
        withMatch(fake)
        fake.routes['GET /remote/files'] = () => problem(503, 'network_error', 'The hub does not answer')
        fake.routes['POST /downloads'] = () => problem(409, 'download_exists', 'It is among the downloads already.')
      }
    })
    await settle()
    page.panel.panel.details.open(fakeModel(2).model_id)
    await settle()
    page.button('Look up').click()
    await settle()
    expect(page.find('.lib-related').textContent).toContain('The files there could not be listed')
    withMatch(page.fake)
    page.find('.lib-related button').click()
    await settle()
    page.all('.lib-related .lib-download-file button')[0]?.click()
    await settle()
    expect(page.find('.lib-related').textContent).toContain('It is among the downloads already.')
  })

  test('complete a set that the import wizard cannot take as it is', async () => {
    const page = await openPanel({
      prepare: (fake) => {
        withMatch(fake)
        const files = PARTS.slice(1).map((path) => ({ path: `/srv/downloads/${path.split('/').pop()}`, size: 4_000_000_000 }))
        const group = { name: 'model', format: 'sharded-set', files, complete: false, missing_shards: [1], guess: {}, security_tier: 'safe', duplicate_of: null, importable: false, problem: 'Part 1 of 3 is missing.' }
        fake.routes['POST /inspect'] = () => ({ status: 200, body: { groups: [group], warnings: [] } })
      }
    })
    await settle()
    page.panel.panel.view.go('import')
    await page.panel.panel.imports.takePaths(['/srv/downloads'])
    await settle()
    page.button('Ask Hugging Face what it is').click()
    await settle()
    expect(page.all('.lib-candidate')).toHaveLength(2)
    expect(page.button('Download what is missing')).toBeTruthy()
    page.button('Download what is missing').click()
    await settle()
    expect(sentTo(page, '/downloads')).toMatchObject([{ repo_id: 'org/llm', here: PARTS.slice(1).map((path) => `/srv/downloads/${path.split('/').pop()}`) }])
  })
})
