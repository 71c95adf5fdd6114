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
  page.button('Preview: ComfyUI').click()
  await settle()
  return page
}

describe('links', () => {
  test('the preview says what would change, and why something is in the way', async () => {
    const page = await previewed()
    expect(page.fake.requests.find(({ path }) => path === '/mappings/preview')?.body).toEqual({ app: 'comfyui' })
    for (const words of ['3 links to create', '812 already right', '3 conflicts', '1 broken link to remove', 'A real copy of the same bytes lies there.', 'a link in its place frees 335 MB', '/mnt/other/add-detail-xl.safetensors', 'Another file lies there.', 'A link to something else lies there.']) {
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
    for (const words of ['6 links are created.', '1 link is removed.', '1 copy is replaced by a link, which frees 335 MB.', '2 things that lie there are renamed.']) {
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

  test('what each choice does is spelled out, in the words of what lies there', async () => {
    const page = await previewed()
    const [, copy, file, link] = /** @type {any[]} */ (page.all('.lib-resolution'))
    const told = () => page.all('.lib-conflict-what').map((one) => one.textContent)
    expect(told()).toEqual(['ae.safetensors stays as it is. No link is made.', 'sd_xl_base_1.0_0.9vae.safetensors stays as it is. No link is made.', 'add-detail-xl.safetensors stays as it is. No link is made.'])
    expect([copy, file, link].map((one) => one.options[1].textContent)).toEqual(['Replace the copy by a link', 'Overwrite', 'Replace the other link'])
    for (const one of [copy, file, link]) {
      one.value = 'overwrite'
      one.dispatchEvent(new Event('change', { bubbles: true }))
      await settle()
    }
    expect(told()[0]).toContain('Frees 335 MB')
    expect(told()[1]).toContain('goes to the trash')
    expect(told()[2]).toContain('what it leads to stays')
    page.button('Apply 7 changes').click()
    await settle()
    const dialog = page.find('.lib-dialog').textContent
    for (const words of ['1 copy is replaced by a link', '1 link to something else is replaced.', '1 file that lies there goes to the trash.']) expect(dialog).toContain(words)
  })

  test('all copies at once, and nothing but the copies', async () => {
    const page = await previewed()
    page.button('Replace the copy by a link, frees 335 MB').click()
    await settle()
    expect(/** @type {any[]} */ (page.all('.lib-resolution')).slice(1).map(({ value }) => value)).toEqual(['overwrite', 'skip', 'skip'])
  })

  test.each([
    ['at once', 'answer'],
    ['when the job looks', 'job'],
    ['before the answer was read', 'overtaken'],
    ['and begins before the answer was read', 'both']
  ])('a world that changed since the preview (%s): a new preview, and why; choices that still apply stay', async (_, when) => {
    /** @type {any} */
    const page = await previewed({ inComfyUI: true, prepare: (fake) => {
      const usual = /** @type {any} */ (fake.routes['POST /mappings/apply'])
      if (when === 'overtaken' || when === 'both') {
        fake.routes['POST /mappings/apply'] = (call) => {
          const answer = usual(call)
          if (when === 'both') page.event('librarian.job', fake.jobs[0])
          page.event('librarian.job', { ...fake.jobs[0], state: 'failed', error: { code: 'plan_changed', message: 'x has changed since the preview. Preview again.' } })
          return answer
        }
      }
      if (when === 'answer') fake.routes['POST /mappings/apply'] = () => problem(409, 'plan_changed', 'Things have changed')
    } })
    const copy = /** @type {any} */ (page.all('.lib-resolution')[1])
    copy.value = 'overwrite'
    copy.dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    page.button('Apply 5 changes').click()
    await settle()
    page.all('.lib-dialog-actions button')[1]?.click()
    await settle()
    if (when === 'job') {
      page.event('librarian.job', { ...page.fake.jobs[0], state: 'failed', error: { code: 'plan_changed', message: 'x has changed since the preview. Preview again.' } })
      await settle()
    }
    expect(page.fake.requests.filter((/** @type {any} */ one) => one.path === '/mappings/preview')).toHaveLength(2)
    expect(page.text()).toContain('Something changed since the preview, so nothing was done')
    expect(page.button('Apply 5 changes')).toBeTruthy()
    expect(page.refreshed.times).toBe(0)
  })

  test('links that could not be reached are named', async () => {
    const page = await previewed()
    page.button('Apply 4 changes').click()
    await settle()
    page.all('.lib-dialog-actions button')[1]?.click()
    await settle()
    page.event('librarian.job', { ...page.fake.jobs[0], state: 'done', result: { links_created: 3, links_removed: 0, unreachable: ['/mnt/usb/x.safetensors'], errors: ['/a: the disk refused'] } })
    await settle()
    expect(page.text()).toContain('1 link could not be reached and stays registered')
    expect(page.text()).toContain('/mnt/usb/x.safetensors')
    expect(page.text()).toContain('1 error')
  })

  test('no apps: said, not blank', async () => {
    const page = await openPanel({ prepare: (fake) => (fake.routes['GET /apps'] = () => ({ status: 200, body: { apps: [] } })) })
    await settle()
    page.panel.panel.view.go('links')
    await settle()
    expect(page.text()).toContain('No app is known')
  })
})
