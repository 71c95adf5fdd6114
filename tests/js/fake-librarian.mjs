/**
 * A Librarian made of a few arrays, for tests and for looking at the panel without the real server.
 * Answers what spec and panel agreed on; everything a test wants different it replaces in `routes`.
 */

import { networkRoutes } from './fake-network.mjs'

const NAMES = [
  ['flux1-dev-fp8', 'checkpoints', 'Flux.1 D', 'flux', 17_246_524_772],
  ['sd_xl_base_1.0_0.9vae', 'checkpoints', 'SDXL 1.0', 'sdxl', 6_938_078_334],
  ['v1-5-pruned-emaonly-fp16', 'checkpoints', 'SD 1.5', 'sd15', 2_132_696_762],
  ['Juggernaut-XL_v9_RunDiffusionPhoto_v2', 'checkpoints', 'SDXL 1.0', 'sdxl', 7_105_348_188],
  ['ltx-video-2b-v0.9.5', 'diffusion_models', 'LTX-Video', 'ltxv', 6_340_729_500],
  ['wan2.1_t2v_1.3B_fp16', 'diffusion_models', 'Wan 2.1', 'wan', 2_838_303_560],
  ['pixel-art-xl-v1.1', 'loras', 'SDXL 1.0', 'sdxl', 170_543_052],
  ['add-detail-xl', 'loras', 'SDXL 1.0', 'sdxl', 228_454_212],
  ['lcm-lora-sdv1-5', 'loras', 'SD 1.5', 'sd15', 134_621_556],
  ['anime-illust-diffusion-character-consistency-style-lora-v3.2b', 'loras', 'SDXL 1.0', 'sdxl', 456_478_976],
  ['ae', 'vae', 'Flux.1 D', 'flux', 335_304_388],
  ['vae-ft-mse-840000-ema-pruned', 'vae', 'SD 1.5', 'sd15', 334_641_190],
  ['t5xxl_fp8_e4m3fn_scaled', 'text_encoders', '', 't5', 5_157_348_688],
  ['clip_l', 'text_encoders', '', 'clip', 246_144_152],
  ['Llama-3-7b-instruct-Q4_K_M', 'text_encoders', 'Llama 3', 'llama', 4_920_734_016],
  ['control_v11p_sd15_canny_fp16', 'controlnet', 'SD 1.5', 'sd15', 722_601_100],
  ['RealESRGAN_x4', 'upscale_models', '', 'esrgan', 67_040_989],
  ['4x-UltraSharp', 'upscale_models', '', 'esrgan', 66_961_958],
  ['写实摄影-真实感增强-v2', 'loras', 'SDXL 1.0', 'sdxl', 151_111_711],
  ['EasyNegative', 'embeddings', 'SD 1.5', 'sd15', 24_655]
]
const TYPES = { text_encoders: 'llm', upscale_models: 'upscaling', clip_vision: 'vision' }
const MATCHES = [
  { match_method: 'hash', match_confidence: 1 },
  { match_method: 'filename_exact', match_confidence: 0.95 },
  { match_method: 'none', match_confidence: 0 },
  { match_method: 'filename_fuzzy', match_confidence: 0.55 },
  { match_method: 'filename_exact', match_confidence: 0.7, hash_mismatch: true }
]

/** @param {number} at @returns {any} */
export function fakeModel(at) {
  const [name, subtype, base_model, family, size] = /** @type {[string, string, string, string, number]} */ (NAMES[at % NAMES.length])
  const round = Math.floor(at / NAMES.length)
  const official_name = round ? `${name}_r${round + 1}` : name
  const model_type = /** @type {Record<string, string>} */ (TYPES)[subtype] ?? 'diffusion'
  const pickle = subtype === 'upscale_models' || subtype === 'embeddings'
  const extension = pickle ? 'pth' : 'safetensors'
  return {
    model_id: `${model_type}/${family}/${official_name}`,
    official_name,
    file_name: `${official_name}.${extension}`,
    model_type,
    subtype,
    family,
    base_model,
    variant: '',
    precision: /fp8/.test(name) ? 'fp8' : 'fp16',
    model_format: 'single-file',
    size_bytes: size,
    security_tier: pickle ? 'pickle' : 'safe',
    storage: at % 3 ? 'in-place' : 'owned',
    tags: subtype === 'loras' ? ['style', 'detail'] : [],
    match_source: 'auto',
    hash_mismatch: false,
    pending_online_lookup: false,
    ...MATCHES[at % MATCHES.length],
    linked: at % 3 === 0,
    preview_url: null,
    added_date: '2026-11-20T10:00:00Z',
    updated_date: '2026-11-21T08:30:00Z',
    problem: null
  }
}

/** @param {any} row @returns {any} */
export function fakeRecord(row) {
  const path = `/srv/models/${row.subtype}/${row.file_name}`
  return {
    ...row,
    trained_words: row.subtype === 'loras' ? ['pixel art style', 'masterpiece, (detailed:1.2)'] : [],
    description: '',
    notes: '',
    repo_id: row.match_method === 'none' ? '' : `someone/${row.official_name.replace(/[^\w.-]/g, '')}`,
    download_url: '',
    files: [{ name: row.file_name, path, size: row.size_bytes, sha256: 'c0ffee'.repeat(10) + 'abcd', blake3: null, exists: true }],
    links: row.linked
      ? [
          { link_id: 1, app: 'comfyui', target: `/home/me/ComfyUI/models/${row.subtype}/${row.file_name}`, source: path, link_type: 'symlink', is_external: false, state: 'ok' },
          { link_id: 2, app: 'forge', target: `/mnt/two/forge/models/${row.subtype}/${row.file_name}`, source: path, link_type: 'symlink', is_external: true, state: 'broken' }
        ]
      : [],
    lookup_attempts: 1,
    license: 'openrail++'
  }
}

/** @param {number} status @param {unknown} body */
const answer = (status, body) => ({ status, body })
/** @param {number} status @param {string} code @param {string} title @param {string} [detail] */
export const problem = (status, code, title, detail = '') => answer(status, { type: 'about:blank', status, code, title, detail })

/** @param {{models?: number}} [options] */
export function createFakeLibrarian({ models: count = 40 } = {}) {
  /** @type {any[]} */
  let models = Array.from({ length: count }, (_, at) => fakeModel(at))
  /** @type {any[]} */
  const jobs = []
  /** Every request that came, in order. @type {{method: string, path: string, query: URLSearchParams, body: any}[]} */
  const requests = []

  /** @type {any[]} */
  let apps = [
    { app: 'comfyui', name: 'ComfyUI', kind: 'comfyui', version: '0.45.0', root: '/home/me/ComfyUI/models', added: false, folders: { checkpoints: ['/home/me/ComfyUI/models/checkpoints'], loras: ['/home/me/ComfyUI/models/loras'], vae: ['/home/me/ComfyUI/models/vae'] }, links: 812 },
    { app: 'forge', name: 'Forge on the second drive', kind: 'forge', version: '*', root: '/mnt/two/stable-diffusion-webui-forge', added: true, folders: { checkpoints: ['/mnt/two/stable-diffusion-webui-forge/models/Stable-diffusion'] }, links: 0 }
  ]
  /** @type {any[]} */
  let mappings = []
  /** @param {number} link_id @param {string} name @param {string} state */
  const sickLink = (link_id, name, state) => ({ link_id, model_id: `diffusion/sdxl/${name}`, app: 'comfyui', target: `/home/me/ComfyUI/models/loras/${name}.safetensors`, source: `/mnt/usb/model-library/diffusion/sdxl/${name}/${name}.safetensors`, link_type: 'symlink', is_external: true, pinned: false, file_hash: null, state, created_at: '2026-11-20T10:00:00Z' })
  /** @type {Record<string, any>} */
  const health = {
    status: 'errors',
    broken_links: [sickLink(1, 'gone', 'broken'), sickLink(2, 'anime-illust-diffusion-character-consistency-style-lora-v3.2b', 'broken')],
    orphaned_links: [{ app: 'comfyui', target: '/home/me/ComfyUI/models/vae/by-hand.safetensors', source: '/srv/model-library/diffusion/flux/ae/ae.safetensors' }],
    ghost_apps: [{ app: 'old', root: '/mnt/old/ComfyUI', links: 41 }],
    missing_files: [sickLink(3, 'deleted-by-hand', 'missing')],
    changed_links: [sickLink(4, 'overwritten', 'changed')],
    others_broken: [{ app: 'comfyui', target: '/home/me/ComfyUI/models/loras/someone-elses.safetensors', source: '/nowhere/someone-elses.safetensors' }],
    unreachable: [],
    total_issues: 6,
    checked_at: '2026-11-22T10:00:00Z'
  }

  const status = () => ({
    version: '0.1.0',
    library: { id: 'x', root: '/srv/model-library', models: models.length, files: models.length, size_bytes: 1, in_place: Math.floor(models.length / 3) },
    index: { state: 'ready', progress: null },
    network: { offline: false, hosts: [], rate_limit: null },
    jobs: { queued: 0, running: jobs.filter((job) => job.state === 'running').length },
    warnings: []
  })

  /** @param {URLSearchParams} query */
  const found = (query) => {
    const words = (query.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean)
    const fields = /** @type {Record<string, string>} */ ({ type: 'model_type', subtype: 'subtype', family: 'family', base_model: 'base_model', tier: 'security_tier' })
    return models.filter((model) => {
      const text = `${model.official_name} ${model.family} ${model.base_model}`.toLowerCase()
      if (!words.every((word) => text.includes(word))) return false
      const tags = query.getAll('tag')
      if (tags.length && !tags.some((tag) => model.tags.includes(tag))) return false
      return Object.entries(fields).every(([name, field]) => query.getAll(name).length === 0 || query.getAll(name).includes(model[field]))
    })
  }

  /** @param {string} kind @param {Partial<any>} more */
  const newJob = (kind, more = {}) => {
    const job = { id: `job-${jobs.length + 1}`, kind, state: 'running', stage: kind, progress: { current: 0, total: 100, unit: 'items' }, items: [], result: null, error: null, created_at: '2026-11-22T10:00:00Z', started_at: null, finished_at: null, ...more }
    jobs.unshift(job)
    return job
  }

  /** @type {Record<string, (call: {query: URLSearchParams, body: any, id: string}) => {status: number, body: unknown}>} */
  const routes = {
    'GET /status': () => answer(200, status()),
    'GET /models': ({ query }) => {
      const hits = found(query)
      const offset = Number(query.get('offset') ?? 0)
      const limit = Number(query.get('limit') ?? 100)
      return answer(200, { models: hits.slice(offset, offset + limit), total: hits.length, match: query.get('q') ? 'all' : 'list', query_time_ms: 0.4 })
    },
    'GET /facets': ({ query }) => {
      const hits = found(query)
      /** @param {(model: any) => string[]} values */
      const counted = (values) => {
        /** @type {Map<string, number>} */
        const counts = new Map()
        for (const model of hits) for (const value of values(model)) if (value) counts.set(value, (counts.get(value) ?? 0) + 1)
        return [...counts].map(([value, count]) => ({ value, count }))
      }
      return answer(200, {
        type: counted((m) => [m.model_type]), subtype: counted((m) => [m.subtype]), family: counted((m) => [m.family]),
        base_model: counted((m) => [m.base_model]), tag: counted((m) => m.tags), tier: counted((m) => [m.security_tier])
      })
    },
    'GET /models/*': ({ id }) => {
      const row = models.find((model) => model.model_id === id)
      return row ? answer(200, fakeRecord(row)) : problem(404, 'not_found', 'There is no such model')
    },
    'PATCH /models/*': ({ id, body }) => {
      const row = models.find((model) => model.model_id === id)
      if (!row) return problem(404, 'not_found', 'There is no such model')
      Object.assign(row, body, { match_source: 'manual' })
      return answer(200, fakeRecord(row))
    },
    'DELETE /models/*': ({ id }) => {
      const row = models.find((model) => model.model_id === id)
      models = models.filter((model) => model !== row)
      return answer(200, { unlinked: row?.linked ? 2 : 0, files_removed: 1, unreachable: [] })
    },
    'POST /lookup': ({ body }) =>
      answer(200, {
        found: true, cached: false, stale: false, offline: false,
        candidates: [
          { provider: 'huggingface', repo_id: 'stabilityai/stable-diffusion-xl-base-1.0', file_name: 'sd_xl_base_1.0_0.9vae.safetensors', base_model: 'SDXL 1.0', page_url: 'https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0', match_method: 'hash', match_confidence: 1, requires_confirmation: false, hash_mismatch: false },
          { provider: 'huggingface', repo_id: 'someone/mirror-of-many-models', file_name: body.filename ?? `${body.model_id.split('/').pop()}.safetensors`, match_method: 'filename_exact', match_confidence: 0.93, requires_confirmation: false, hash_mismatch: true },
          { provider: 'huggingface', repo_id: 'other/xl-base', file_name: 'xl-base.safetensors', match_method: 'filename_fuzzy', match_confidence: 0.52, requires_confirmation: true, hash_mismatch: false }
        ]
      }),
    'POST /lookup/apply': ({ body }) => {
      const row = models.find((model) => model.model_id === body.model_id)
      Object.assign(row, { match_method: body.candidate.match_method, match_confidence: body.candidate.match_confidence, hash_mismatch: body.candidate.hash_mismatch })
      return answer(200, { ...fakeRecord(row), repo_id: body.candidate.repo_id })
    },
    'GET /jobs': () => answer(200, { jobs }),
    'GET /jobs/*': ({ id }) => {
      const job = jobs.find((one) => one.id === id)
      return job ? answer(200, job) : problem(404, 'not_found', 'There is no such job')
    },
    'POST /jobs/*': ({ id }) => {
      const job = jobs.find((one) => one.id === id.replace(/\/cancel$/, ''))
      job.state = 'cancelled'
      return answer(200, job)
    },
    'POST /scan': ({ body }) => answer(202, { job: newJob('scan', { stage: body.kind === 'deep' ? 'library' : 'folders' }) }),
    'GET /settings': () => answer(200, { library_root: '/srv/model-library', online: true, remote_search: true, transfers_at_once: null, download_limit: null, index_in_place: true, huggingface_token_set: true, civitai_token_set: false }),
    'PATCH /settings': ({ body }) => answer(200, { library_root: '/srv/model-library', online: true, remote_search: true, transfers_at_once: null, download_limit: null, index_in_place: true, huggingface_token_set: true, civitai_token_set: false, ...body }),
    'GET /browse': ({ query }) => {
      const path = query.get('path')
      if (!path) return answer(200, { path: '', parent: null, entries: [{ name: '/srv/downloads', path: '/srv/downloads', is_dir: true }, { name: '/mnt/two', path: '/mnt/two', is_dir: true }] })
      return answer(200, {
        path,
        parent: path === '/srv/downloads' ? '' : '/srv/downloads',
        entries: [
          { name: 'diffusers', path: `${path}/diffusers`, is_dir: true },
          { name: 'flux1-schnell-fp8.safetensors', path: `${path}/flux1-schnell-fp8.safetensors`, is_dir: false, size: 17_236_328_572, importable: true },
          { name: 'old-and-very-long-named-merge-of-many-checkpoints-v12.ckpt', path: `${path}/old.ckpt`, is_dir: false, size: 4_265_380_512, importable: true },
          { name: 'readme.txt', path: `${path}/readme.txt`, is_dir: false, size: 1200, importable: false }
        ]
      })
    },
    'POST /inspect': () =>
      answer(200, {
        groups: [
          { name: 'flux1-schnell-fp8', format: 'single-file', files: [{ path: '/srv/downloads/flux1-schnell-fp8.safetensors', size: 17_236_328_572 }], complete: true, missing_shards: [], guess: { official_name: 'flux1-schnell-fp8', model_type: 'diffusion', subtype: 'checkpoints', family: 'flux', base_model: 'Flux.1 S', precision: 'fp8' }, security_tier: 'safe', duplicate_of: null, importable: true, problem: null },
          { name: 'old-and-very-long-named-merge-of-many-checkpoints-v12', format: 'single-file', files: [{ path: '/srv/downloads/old.ckpt', size: 4_265_380_512 }], complete: true, missing_shards: [], guess: { official_name: 'old-and-very-long-named-merge-of-many-checkpoints-v12', model_type: 'diffusion', subtype: 'checkpoints', family: 'sd15', base_model: 'SD 1.5' }, security_tier: 'pickle', duplicate_of: null, importable: true, problem: null },
          { name: 'Llama-3-7b', format: 'sharded-set', files: [{ path: '/srv/downloads/Llama-3-7b-00001-of-00003.safetensors', size: 4_000_000_000 }, { path: '/srv/downloads/Llama-3-7b-00002-of-00003.safetensors', size: 4_000_000_000 }], complete: false, missing_shards: [3], guess: { model_type: 'llm', subtype: 'text_encoders', family: 'llama' }, security_tier: 'safe', duplicate_of: null, importable: false, problem: 'Llama-3-7b.safetensors: part 3 of 3 is missing. Put all parts into one folder and choose all of them, or the folder.' },
          { name: 'sd_xl_base_1.0_0.9vae', format: 'single-file', files: [{ path: '/srv/downloads/sd_xl_base_1.0_0.9vae.safetensors', size: 6_938_078_334 }], complete: true, missing_shards: [], guess: { subtype: 'checkpoints', family: 'sdxl', base_model: 'SDXL 1.0' }, security_tier: 'safe', duplicate_of: 'diffusion/sdxl/sd_xl_base_1.0_0.9vae', importable: false, problem: null },
          { name: 'download', format: 'single-file', files: [{ path: '/srv/downloads/download.safetensors', size: 18_233 }], complete: true, missing_shards: [], guess: {}, security_tier: 'unknown', duplicate_of: null, importable: false, problem: 'This is a web page saved under the name of a model: the download failed.' }
        ]
      }),
    'POST /imports': ({ body }) =>
      answer(202, {
        job: newJob('import', {
          stage: 'import',
          progress: { current: 6_100_000_000, total: 17_236_328_572, unit: 'bytes', rate: 412_000_000, eta_s: 27 },
          items: body.items.map((/** @type {any} */ item, /** @type {number} */ at) => ({ name: (item.paths ?? item.uploads)[0].split('/').pop(), state: at ? 'queued' : 'running', message: null, model_id: null, current: at ? 0 : 6_100_000_000, total: at ? null : 17_236_328_572 }))
        })
      }),
    'PATCH /models': ({ body }) => {
      const touched = models.filter((model) => body.model_ids.includes(model.model_id))
      for (const model of touched) {
        Object.assign(model, body.fields)
        model.tags = [...new Set([...model.tags, ...body.add_tags])].filter((tag) => !body.remove_tags.includes(tag))
      }
      const outcomes = body.model_ids.map((/** @type {string} */ model_id) => ({ model_id, edited: true, code: null, message: null }))
      return answer(202, { job: newJob('edit', { state: 'done', result: { edited: outcomes.length, failed: 0, models: outcomes } }) })
    },
    'GET /storage': () => {
      /** @param {(model: any) => string} name */
      const shares = (name) => {
        /** @type {Map<string, {name: string, models: number, size_bytes: number}>} */
        const all = new Map()
        for (const model of models) {
          const share = all.get(name(model)) ?? { name: name(model), models: 0, size_bytes: 0 }
          all.set(share.name, { ...share, models: share.models + 1, size_bytes: share.size_bytes + model.size_bytes })
        }
        return [...all.values()].sort((one, other) => other.size_bytes - one.size_bytes)
      }
      return answer(200, {
        size_bytes: models.reduce((sum, model) => sum + model.size_bytes, 0),
        by_type: shares((model) => model.subtype),
        by_family: shares((model) => model.family),
        by_drive: shares((model) => (model.storage === 'owned' ? '/srv' : '/mnt/two')).map((share) => ({ ...share, total_bytes: 4_000_000_000_000, free_bytes: 812_000_000_000 }))
      })
    },
    'GET /duplicates': () => {
      /** @param {string} model_id @param {string} path @param {string} storage @param {string} [model_format] */
      const file = (model_id, path, storage, model_format = 'single-file') => ({ model_id, path, storage, official_name: path.split('/').pop()?.replace(/\.\w+$/, ''), model_format, security_tier: path.endsWith('.pth') ? 'pickle' : 'safe' })
      const groups = [
        { sha256: 'a1'.repeat(32), size_bytes: 6_938_078_334, bytes_to_win: 13_876_156_668, files: [file('diffusion/sdxl/sd_xl_base_1.0_0.9vae', '/srv/model-library/diffusion/sdxl/x/sd_xl_base_1.0_0.9vae.safetensors', 'owned'), file('in-place/sdxl-1', '/home/me/ComfyUI/models/checkpoints/sd_xl_base_1.0_0.9vae.safetensors', 'in-place'), file('in-place/sdxl-2', '/mnt/two/forge/models/Stable-diffusion/sdxl-base.safetensors', 'in-place')] },
        { sha256: 'b2'.repeat(32), size_bytes: 67_040_989, bytes_to_win: 67_040_989, files: [file('in-place/esrgan-1', '/home/me/ComfyUI/models/upscale_models/RealESRGAN_x4.pth', 'in-place'), file('in-place/esrgan-2', '/mnt/two/forge/models/ESRGAN/RealESRGAN_x4.pth', 'in-place')] },
        { sha256: 'c3'.repeat(32), size_bytes: 246_144_152, bytes_to_win: 246_144_152, files: [file('diffusion/flux/one', '/srv/model-library/diffusion/flux/one/text_encoder/model.safetensors', 'owned', 'diffusion-folder'), file('in-place/two', '/mnt/two/diffusers/two/text_encoder/model.safetensors', 'in-place', 'diffusion-folder')] }
      ]
      return answer(200, { groups, bytes_to_win: groups.reduce((sum, group) => sum + group.bytes_to_win, 0), files_to_hash: 3 })
    },
    'GET /apps': () => answer(200, { apps }),
    'POST /mappings/preview': () =>
      answer(200, {
        plan_id: 'p1',
        to_create: [6, 0, 9].map((at) => ({ target: `/home/me/ComfyUI/models/${fakeModel(at).subtype}/${fakeModel(at).file_name}`, source: `/srv/model-library/${fakeModel(at).model_id}/${fakeModel(at).file_name}`, model_id: fakeModel(at).model_id, app: 'comfyui' })),
        to_skip_exists: Array.from({ length: 812 }, (_, at) => ({ target: `/home/me/ComfyUI/models/loras/already-${at}.safetensors` })),
        conflicts: [
          { target: '/home/me/ComfyUI/models/vae/ae.safetensors', source: '/srv/model-library/diffusion/flux/ae/ae.safetensors', model_id: 'diffusion/flux/ae', reason: 'same_bytes', size_bytes: 335_304_388 },
          { target: '/home/me/ComfyUI/models/checkpoints/sd_xl_base_1.0_0.9vae.safetensors', source: '/srv/model-library/diffusion/sdxl/x.safetensors', reason: 'file_exists', existing: 'file' },
          { target: '/home/me/ComfyUI/models/loras/add-detail-xl.safetensors', source: '/srv/model-library/diffusion/sdxl/add-detail-xl.safetensors', reason: 'linked_to_different_source', existing: 'link to /mnt/other/add-detail-xl.safetensors' }
        ],
        broken_to_remove: [{ target: '/home/me/ComfyUI/models/loras/gone.safetensors', source: '/mnt/usb/gone.safetensors' }],
        orphaned_to_remove: [],
        warnings: ['/mnt/two is another filesystem: links there are absolute.'],
        errors: [],
        total_actions: 4,
        bytes_to_win: 335_304_388
      }),
    'GET /health': () => answer(200, health),
    'POST /health/clean': ({ body }) => {
      const cleaned = { broken: 0, orphaned: 0, ghosts: 0, missing: 0, errors: [] }
      for (const [kind, list] of /** @type {const} */ ([['broken', 'broken_links'], ['orphaned', 'orphaned_links'], ['ghosts', 'ghost_apps'], ['missing', 'missing_files']])) {
        if (body[kind]) cleaned[kind] = health[list].splice(0).length
      }
      health.total_issues = health.broken_links.length + health.orphaned_links.length + health.ghost_apps.length + health.missing_files.length + health.changed_links.length
      if (health.total_issues === 0) health.status = 'healthy'
      return answer(200, cleaned)
    },
    'POST /links/repair': () => answer(202, { job: newJob('repair', { stage: 'repair', progress: { current: 1, total: 2, unit: 'links' } }) }),
    'POST /links/relocate': ({ body }) =>
      answer(200, {
        updated: 1,
        dry_run: body.dry_run,
        links: [{ link_id: 1, app: 'comfyui', target: '/home/me/ComfyUI/models/loras/gone.safetensors', old_target: '/home/me/ComfyUI/models/loras/gone.safetensors', source: `${body.new_prefix}/gone.safetensors`, old_source: `${body.old_prefix}/gone.safetensors`, problem: null }],
        failed: [{ link_id: 2, app: 'comfyui', target: '/home/me/ComfyUI/models/vae/lost.safetensors', old_target: '/home/me/ComfyUI/models/vae/lost.safetensors', source: `${body.new_prefix}/lost.safetensors`, old_source: `${body.old_prefix}/lost.safetensors`, problem: `${body.new_prefix}/lost.safetensors is not there, so nothing was pointed to it.` }]
      }),
    'POST /apps': ({ body }) => {
      if (!body.root.startsWith('/')) return problem(404, 'not_found', 'Not found', `${body.root} is not a folder. Give the folder that the app lies in.`)
      const id = body.root.split('/').pop()
      const app = { app: id, name: id, kind: body.kind ?? 'a1111', version: '*', root: body.root, added: true, folders: { checkpoints: [`${body.root}/models/Stable-diffusion`], loras: [`${body.root}/models/Lora`] }, links: 0 }
      apps = [...apps.filter((other) => other.app !== id), app]
      return answer(200, app)
    },
    'DELETE /apps/*': ({ id }) => {
      const app = apps.find((one) => one.app === id)
      if (!app) return problem(404, 'not_found', 'Not found', `There is no app '${id}'.`)
      const links_removed = app.links
      app.links = 0
      if (app.added) apps = apps.filter((one) => one !== app)
      return answer(200, { links_created: 0, links_removed, skipped: 0, conflicts_resolved: 0, bytes_freed: 0, unreachable: [], errors: [] })
    },
    'GET /mappings': () => answer(200, { mappings, problems: [] }),
    'PUT /mappings/*': ({ id, body }) => {
      const wrong = body.rules.flatMap((/** @type {any} */ rule, /** @type {number} */ at) => (rule.target_subdir.includes('..') ? [{ field: `rules.${at}.target_subdir`, message: 'must be a folder below the app\'s root, without «..»' }] : []))
      if (wrong.length > 0) return answer(400, { status: 400, code: 'invalid_request', title: 'The request cannot be understood', detail: 'wrong', fields: wrong })
      mappings = [...mappings.filter((one) => one.name !== id), { name: id, source: 'person', mapping: body }]
      return answer(200, mappings.at(-1))
    },
    'DELETE /mappings/*': ({ id }) => {
      mappings = mappings.filter((one) => one.name !== id)
      return answer(200, { mappings, problems: [] })
    },
    'POST /mappings/apply': () => answer(202, { job: newJob('sync', { stage: 'links', progress: { current: 2, total: 4, unit: 'links' } }) })
  }

  const downloads = networkRoutes(routes, { answer, problem, newJob })

  /** @param {string} method @param {string} address below the server, `/librarian/…` @param {any} body */
  function handle(method, address, body) {
    const url = new URL(address, 'http://localhost')
    const path = url.pathname.replace(/^.*?\/librarian/, '')
    requests.push({ method, path, query: url.searchParams, body })
    const exact = routes[`${method} ${path}`]
    if (exact) return exact({ query: url.searchParams, body, id: '' })
    for (const [key, route] of Object.entries(routes)) {
      const [wanted, pattern] = /** @type {[string, string]} */ (key.split(' '))
      if (wanted !== method || !pattern.endsWith('*')) continue
      const prefix = pattern.slice(0, -1)
      if (path.startsWith(prefix)) return route({ query: url.searchParams, body, id: decodeURIComponent(path.slice(prefix.length)) })
    }
    return problem(404, 'not_found', 'No such call')
  }

  return { handle, routes, requests, jobs, downloads, status, newJob, health, get models() { return models } }
}
