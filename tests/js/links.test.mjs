import { afterEach, describe, expect, test } from 'vitest'
import { problem } from './fake-librarian.mjs'
import { openPanel, settle } from './panel-in-a-page.mjs'

afterEach(() => document.body.replaceChildren())

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function previewed(options) {
  const page = await openPanel(options)
  await settle()
  page.panel.panel.view.go('links')
  await settle()
  page.button('Preview').click()
  await settle()
  return page
}

describe('links', () => {
  test('the preview says what would change, and why something is in the way', async () => {
    const page = await previewed()
    expect(page.fake.requests.find(({ path }) => path === '/mappings/preview')?.body).toEqual({ app: 'comfyui' })
    for (const words of ['3 links to create', '812 already right', '3 conflicts', '1 broken link to remove', 'A real copy of the same bytes lies there.', 'Overwriting gives back 335 MB.', 'Another file lies there.', 'A link to something else lies there.']) {
      expect(page.text()).toContain(words)
    }
    expect(page.button('Apply 4 changes')).toBeTruthy()
  })

  test('a choice for each and one for all; the dialog counts; the answer carries the choices', async () => {
    const page = await previewed({ inComfyUI: true })
    const [all, first] = /** @type {any[]} */ (page.all('.lib-resolution'))
    all.value = 'rename'
    all.dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    first.value = 'overwrite'
    first.dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    page.button('Apply 7 changes').click()
    await settle()
    const dialog = page.find('.lib-dialog').textContent
    for (const words of ['6 links are created.', '1 link is removed.', '1 thing that lies there is overwritten.', '2 things that lie there are renamed.']) {
      expect(dialog).toContain(words)
    }
    expect(page.fake.requests.some(({ path }) => path === '/mappings/apply')).toBe(false)
    page.all('.lib-dialog-actions button')[1]?.click()
    await settle()
    expect(page.fake.requests.find(({ path }) => path === '/mappings/apply')?.body).toEqual({
      plan_id: 'p1', default_resolution: 'rename', resolutions: { '/home/me/ComfyUI/models/vae/ae.safetensors': 'overwrite' }
    })
    page.event('librarian.job', { ...page.fake.jobs[0], state: 'done', result: { links_created: 6, links_removed: 1, bytes_freed: 335_304_388, errors: [] } })
    await settle()
    expect(page.text()).toMatch(/6 links created · 1 link removed · 335 MB freed/)
    expect(page.refreshed.times).toBe(1)
  })

  test('nothing is applied when one says no', async () => {
    const page = await previewed()
    page.button('Apply 4 changes').click()
    await settle()
    page.find('[data-cancel]').click()
    await settle()
    expect(page.find('.lib-dialog')).toBeNull()
    expect(page.fake.requests.some(({ path }) => path === '/mappings/apply')).toBe(false)
  })

  test('a world that changed since the preview is said; Retry plans anew', async () => {
    const page = await previewed({ prepare: (fake) => (fake.routes['POST /mappings/apply'] = () => problem(409, 'plan_changed', 'Something changed since the preview')) })
    page.button('Apply 4 changes').click()
    await settle()
    page.all('.lib-dialog-actions button')[1]?.click()
    await settle()
    expect(page.find('[role=alert]').textContent).toContain('Something changed since the preview')
    page.button('Retry').click()
    await settle()
    expect(page.fake.requests.filter(({ path }) => path === '/mappings/preview')).toHaveLength(2)
  })

  test('no apps: said, not blank', async () => {
    const page = await openPanel({ prepare: (fake) => (fake.routes['GET /apps'] = () => ({ status: 200, body: { apps: [] } })) })
    await settle()
    page.panel.panel.view.go('links')
    await settle()
    expect(page.text()).toContain('No app is known')
  })
})
