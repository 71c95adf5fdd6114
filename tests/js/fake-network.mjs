/** What the hosts have, and what comes from them, as far as the panel asks. */

/** @type {any[]} */
export const REPOSITORIES = [
  {
    provider: 'huggingface', repo_id: 'Comfy-Org/flux1-dev', name: 'flux1-dev', author: 'Comfy-Org', revision: 'a'.repeat(40), pipeline_tag: 'text-to-image', kind: '',
    base_model: 'black-forest-labs/FLUX.1-dev', licence: 'other', downloads: 1_234_567, likes: 812, gated: false, nsfw: false, description: '',
    file_names: ['README.md', 'flux1-dev-fp8.safetensors', 'vae/ae.safetensors', 'text_encoders/t5xxl_fp16-00001-of-00002.safetensors', 'text_encoders/t5xxl_fp16-00002-of-00002.safetensors'], files: [],
    page_url: 'https://huggingface.co/Comfy-Org/flux1-dev'
  },
  {
    provider: 'civitai', repo_id: '618692', name: 'FLUX', version: 'Dev fp16', author: 'theally', revision: '691639', kind: 'Checkpoint', base_model: 'Flux.1 D', licence: null,
    downloads: 98_000, likes: 4_400, gated: false, nsfw: false, description: 'FLUX.1 [dev] is a 12 billion parameter rectified flow transformer.',
    file_names: ['flux_dev.safetensors'], files: [{ path: 'flux_dev.safetensors', size: 23_802_932_552, sha256: 'f'.repeat(64), kind: 'Model' }], page_url: 'https://civitai.com/models/618692'
  },
  {
    provider: 'huggingface', repo_id: 'black-forest-labs/FLUX.1-dev', name: 'FLUX.1-dev', author: 'black-forest-labs', revision: 'b'.repeat(40), kind: '', base_model: null, licence: 'flux-1-dev',
    downloads: 2_400_000, likes: 9_100, gated: true, nsfw: false, description: '', file_names: ['flux1-dev.safetensors', 'ae.safetensors', 'old.ckpt'], files: [], page_url: 'https://huggingface.co/black-forest-labs/FLUX.1-dev'
  }
]

/** @param {Record<string, any>} more */
export const fakeDownload = (more = {}) => ({
  id: 'd1', job_id: 'job-1', provider: 'huggingface', repo_id: 'Comfy-Org/flux1-dev', revision: 'a'.repeat(40), name: 'Comfy-Org/flux1-dev: flux1-dev-fp8.safetensors',
  page_url: 'https://huggingface.co/Comfy-Org/flux1-dev', state: 'downloading', reason: null, retry_after_s: null, size: 17_246_524_772, received: 6_100_000_000,
  rate: 41_200_000, eta_s: 270, link: true, models: [], related: [], created_at: '2026-11-22T10:00:00Z',
  files: [{ path: 'flux1-dev-fp8.safetensors', size: 17_246_524_772, received: 6_100_000_000, state: 'downloading', asked: true, reason: null }],
  ...more
})

/**
 * @param {Record<string, any>} routes
 * @param {{answer: (status: number, body: unknown) => any, problem: (status: number, code: string, title: string, detail?: string) => any, newJob: (kind: string, more?: any) => any}} with_
 * @returns {any[]} the downloads
 */
export function networkRoutes(routes, { answer, problem, newJob }) {
  /** @type {any[]} */
  const downloads = []
  /** @param {string} id */
  const find = (id) => downloads.find((one) => one.id === id)
  /** @param {{query: URLSearchParams}} call */
  routes['GET /remote'] = ({ query }) => {
    const words = (query.get('q') ?? '').toLowerCase().split(/\s+/)
    const models = REPOSITORIES.filter((model) => words.every((word) => `${model.repo_id} ${model.name}`.toLowerCase().includes(word)))
    return answer(200, { models, cached: false, stale: false, offline: false, fetched_at: '2026-11-22T10:00:00Z', retry_after_s: null, problems: [] })
  }
  /** @param {{query: URLSearchParams}} call */
  routes['GET /remote/files'] = ({ query }) => {
    const model = REPOSITORIES.find((one) => one.repo_id === query.get('repo_id') && one.provider === query.get('provider'))
    if (!model) return problem(404, 'http_status', 'There is no such repository')
    const names = /** @type {string[]} */ (model.file_names)
    return answer(200, { files: model.files.length ? model.files : names.map((path, at) => ({ path, size: (at + 1) * 1_000_000_000 })), complete: true })
  }
  routes['POST /lookup/retry'] = () => answer(202, { job: newJob('lookup', { stage: 'lookup' }) })
  routes['GET /downloads'] = () => answer(200, { downloads: structuredClone(downloads) })
  /** @param {{body: any}} call */
  routes['POST /downloads'] = ({ body }) => {
    const job = newJob('download', { stage: 'downloading' })
    const download = fakeDownload({
      id: `d${downloads.length + 1}`, job_id: job.id, provider: body.provider, repo_id: body.repo_id, name: `${body.repo_id}: ${body.files.join(', ')}`,
      files: body.files.map((/** @type {string} */ path) => ({ path, size: 1_000_000_000, received: 0, state: 'queued', asked: true, reason: null }))
    })
    downloads.push(download)
    return answer(202, { job, download })
  }
  /** @param {{id: string, body: any}} call */
  routes['POST /downloads/*'] = ({ id }) => {
    const [, which = '', action] = /^(.*)\/(pause|resume)$/.exec(id) ?? []
    const download = find(which)
    if (!download) return problem(404, 'not_found', 'There is no such download')
    Object.assign(download, action === 'pause' ? { state: 'paused', rate: null, eta_s: null } : { state: 'downloading', reason: null, retry_after_s: null })
    return answer(action === 'pause' ? 200 : 202, action === 'pause' ? download : { job: newJob('download'), download })
  }
  /** @param {{id: string}} call */
  routes['DELETE /downloads/*'] = ({ id }) => {
    const [which = '', aside] = id.split('/')
    const download = find(which)
    if (!download) return problem(404, 'not_found', 'There is no such download')
    if (aside) {
      for (const file of download.files) file.aside = null
      return answer(200, download)
    }
    downloads.splice(downloads.indexOf(download), 1)
    return answer(200, download)
  }
  return downloads
}
