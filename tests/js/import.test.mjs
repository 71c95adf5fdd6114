import { afterEach, describe, expect, test } from 'vitest'
import { problem } from './fake-librarian.mjs'
import { openPanel, settle, type } from './panel-in-a-page.mjs'

afterEach(() => document.body.replaceChildren())

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function inspected(options) {
  const page = await openPanel(options)
  await settle()
  page.panel.panel.view.go('import')
  await settle()
  type(page.find('#lib-import-paths'), '/srv/downloads')
  await settle()
  page.button('Inspect').click()
  await settle()
  return page
}

describe('import', () => {
  test('shows what was found, what it is, and what is in the way', async () => {
    const page = await inspected()
    expect(page.text()).toContain('5 things found')
    expect(page.text()).toContain('1 part is missing: Llama-3-7b-00003-of-00003.safetensors')
    expect(page.text()).toContain('This is a web page saved under the name of a model')
    expect(page.text()).toContain('The same bytes are known already: diffusion/sdxl/sd_xl_base_1.0_0.9vae')
    // What cannot or need not be imported is left out from the start.
    expect(page.all('.lib-draft-head input').map((/** @type {any} */ box) => [box.checked, box.disabled])).toEqual([
      [true, false], [true, false], [false, true], [false, false], [false, true]
    ])
  })

  test('a pickle blocks until its box is ticked', async () => {
    const page = await inspected()
    const start = () => page.find('[data-import-start]')
    expect(start().disabled).toBe(true)
    expect(page.text()).toContain('Tick the box of each pickle')
    start().click()
    await settle()
    expect(page.fake.requests.some(({ path }) => path === '/imports')).toBe(false)
    page.find('[data-acknowledge]').click()
    await settle()
    expect(start().disabled).toBe(false)
  })

  test('a pickle that is left out blocks nothing', async () => {
    const page = await inspected()
    page.all('.lib-draft-head input')[1]?.click()
    await settle()
    expect(page.find('[data-import-start]').disabled).toBe(false)
  })

  test('sends what the person chose, shows progress, then the summary with Show', async () => {
    const page = await inspected({ inComfyUI: true })
    page.find('[data-acknowledge]').click()
    const name = page.find('[data-field=official_name]')
    name.value = 'Flux Schnell'
    name.dispatchEvent(new Event('input', { bubbles: true }))
    page.find('input[value=move]').click()
    await settle()
    expect(page.text()).toContain('It leaves its old place only after size and hash agree.')
    page.find('[data-import-start]').click()
    await settle()
    const sent = page.fake.requests.find(({ path }) => path === '/imports')?.body
    expect(sent).toMatchObject({ link: true })
    expect(sent.items).toMatchObject([
      { paths: ['/srv/downloads/flux1-schnell-fp8.safetensors'], mode: 'move', acknowledge_pickle: false, metadata: { official_name: 'Flux Schnell', subtype: 'checkpoints', family: 'flux', base_model: 'Flux.1 S' } },
      { paths: ['/srv/downloads/old.ckpt'], mode: 'move', acknowledge_pickle: true }
    ])
    expect(page.text()).toMatch(/6\.1 GB of 17\.2 GB.*412 MB\/s · 27 s left/)

    page.event('librarian.job', {
      ...page.fake.jobs[0], state: 'done',
      items: [
        { name: 'Flux Schnell', state: 'done', model_id: 'diffusion/flux/flux1-dev-fp8' },
        { name: 'old', state: 'failed', message: 'The file changed while it was being read.' }
      ]
    })
    await settle()
    expect(page.text()).toContain('1 imported, 1 failed')
    expect(page.text()).toContain('The file changed while it was being read.')
    expect(page.refreshed.times).toBe(1)
    page.button('Show').click()
    await settle()
    expect(page.find('.lib-details h2').textContent).toBe('flux1-dev-fp8')
  })

  test('a job whose answer comes after its end is not shown as running', async () => {
    const page = await inspected()
    page.find('[data-acknowledge]').click()
    await settle()
    page.find('[data-import-start]').click()
    await settle()
    const running = { ...page.fake.jobs[0] }
    page.event('librarian.job', { ...running, state: 'done', items: [] })
    page.event('librarian.job', running)
    await settle()
    expect(page.panel.panel.jobs.find(running.id)?.state).toBe('done')
  })

  test('cancel asks the server', async () => {
    const page = await inspected()
    page.find('[data-acknowledge]').click()
    await settle()
    page.find('[data-import-start]').click()
    await settle()
    page.button('Cancel').click()
    await settle()
    expect(page.fake.requests.map(({ method, path }) => `${method} ${path}`)).toContain('POST /jobs/job-1/cancel')
    expect(page.text()).toContain('Cancelled')
  })

  test('what cannot be inspected says why, and Retry asks again', async () => {
    const page = await inspected({ prepare: (fake) => (fake.routes['POST /inspect'] = () => problem(403, 'outside_allowed_roots', 'Outside of the allowed folders', '/etc is not a folder of models')) })
    expect(page.find('[role=alert]').textContent).toContain('/etc is not a folder of models')
    const before = page.fake.requests.length
    page.button('Retry').click()
    await settle()
    expect(page.fake.requests.slice(before).map(({ path }) => path)).toContain('/inspect')
  })

  test('files are picked by walking through the server’s folders', async () => {
    const page = await openPanel()
    await settle()
    page.panel.panel.view.go('import')
    await settle()
    page.button('Browse…').click()
    await settle()
    page.all('.lib-browse-entry button')[0]?.click()
    await settle()
    page.all('.lib-browse-entry input')[1]?.click()
    await settle()
    page.button('Take 1').click()
    await settle()
    expect(page.find('#lib-import-paths').value).toBe('/srv/downloads/flux1-schnell-fp8.safetensors')
  })
})
