import { afterEach, describe, expect, test } from 'vitest'
import { problem } from './fake-librarian.mjs'
import { openPanel, press, settle, type } from './panel-in-a-page.mjs'

afterEach(() => document.body.replaceChildren())

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function linksPlace(options) {
  const page = await openPanel(options)
  await settle()
  page.panel.panel.view.go('links')
  await settle()
  return page
}

/** @param {Parameters<typeof openPanel>[0]} [options] */
async function healthPage(options) {
  const page = await linksPlace(options)
  page.button('6 problems with links').click()
  await settle()
  return page
}

/** @param {any} page @param {string} method @param {string} path */
const sent = (page, method, path) => page.fake.requests.filter((/** @type {any} */ one) => one.method === method && one.path === path).map((/** @type {any} */ one) => one.body)

describe('health of links', () => {
  test('a dot at the place and a number at the tab, from what the server found at its start', async () => {
    const page = await openPanel({ inComfyUI: true, prepare: (fake) => void fake.newJob('health', { state: 'done', result: fake.health }) })
    await settle()
    expect(page.badge.count).toBe(6)
    expect([...page.all('.lib-places button')].filter((one) => one.querySelector('.lib-dot')).map((one) => one.textContent?.trim())).toEqual(['Links'])
    expect(page.fake.requests.some(({ path }) => path === '/health')).toBe(false)
  })

  test('each kind of trouble with its paths and what can be done; what others made can only be read', async () => {
    const page = await healthPage()
    for (const words of ['2 broken links', '1 orphaned link', '1 app that is gone', '1 missing link', '1 link changed by others', '1 broken link that others made', 'never touches them', '/mnt/old/ComfyUI', '41 links']) {
      expect(page.text()).toContain(words)
    }
    for (const part of ['changed', 'others']) expect(page.find(`[data-part=${part}] button`)).toBeNull()
    expect(page.find('[data-part=broken] button').textContent).toContain('Remove 2 broken links…')
  })

  test('repair is a job with a result; combos are refreshed once and the links looked at again', async () => {
    const page = await healthPage({ inComfyUI: true })
    page.button('Repair 2 broken links').click()
    await settle()
    expect(page.find('[role=progressbar]')).toBeTruthy()
    page.fake.health['broken_links'].pop()
    page.event('librarian.job', { ...page.fake.jobs[0], state: 'done', result: { repaired: 1, failed: [{ link_id: 2, app: 'comfyui', target: '/x/lost.safetensors', source: '/y', problem: 'No file with these bytes is indexed.' }], details: [] } })
    await settle()
    for (const words of ['1 link repaired', '1 could not be repaired', 'No file with these bytes is indexed.', '1 broken link']) expect(page.text()).toContain(words)
    expect(page.refreshed.times).toBe(1)
  })

  test('one kind is cleaned after a yes in numbers; the others are offered, not chosen', async () => {
    const page = await healthPage({ inComfyUI: true })
    page.button('Remove 1 orphaned link…').click()
    await settle()
    const boxes = /** @type {any[]} */ (page.all('.lib-dialog input[type=checkbox]'))
    expect(boxes.map(({ checked }) => checked)).toEqual([false, true, false, false])
    expect(page.find('.lib-dialog').textContent).toContain('The app and its 41 registered links are forgotten.')
    expect(sent(page, 'POST', '/health/clean')).toEqual([])
    page.button('Clean 1').click()
    await settle()
    expect(sent(page, 'POST', '/health/clean')).toEqual([{ orphaned: true }])
    expect(page.text()).toContain('1 orphaned link removed.')
    expect(page.find('[data-part=orphaned]')).toBeNull()
    expect(page.refreshed.times).toBe(1)
  })

  test('all is cleaned at once, and what is left is healthy', async () => {
    const page = await healthPage({ prepare: (fake) => void fake.health['changed_links'].splice(0) })
    page.button('Clean…').click()
    await settle()
    page.button('Clean 5').click()
    await settle()
    expect(sent(page, 'POST', '/health/clean')).toEqual([{ broken: true, orphaned: true, ghosts: true, missing: true }])
    expect(page.text()).toContain('All links are healthy')
    expect(page.find('[data-part=others]')).toBeTruthy()
  })

  test('what cannot be looked at any more is not called healthy', async () => {
    const page = await healthPage()
    for (const list of Object.values(page.fake.health)) if (Array.isArray(list)) list.splice(0)
    page.fake.health['total_issues'] = 0
    page.button('Look again').click()
    await settle()
    expect(page.text()).toContain('All links are healthy')
    page.fake.routes['GET /health'] = () => problem(503, 'unavailable', 'The index is being mended')
    page.button('Look again').click()
    await settle()
    expect(page.text()).toContain('The index is being mended')
    expect(page.text()).not.toContain('All links are healthy')
  })

  test('a cleaning that is refused is said in the dialog, and offered again', async () => {
    const page = await healthPage({ prepare: (fake) => (fake.routes['POST /health/clean'] = () => problem(500, 'storage_error', 'The disk refused')) })
    page.button('Clean…').click()
    await settle()
    page.button('Clean 5').click()
    await settle()
    expect(page.find('.lib-dialog [role=alert]').textContent).toContain('This was not cleaned')
    expect(page.text()).toContain('2 broken links')
  })

  test('links that cannot be looked at: said, again on request, never blank', async () => {
    let broken = true
    const page = await linksPlace({ prepare: (fake) => {
      const usual = /** @type {any} */ (fake.routes['GET /health'])
      fake.routes['GET /health'] = (call) => (broken ? problem(500, 'internal_error', 'Something went wrong') : usual(call))
    } })
    expect(page.find('[role=alert]').textContent).toContain('The links could not be looked at')
    broken = false
    page.button('Retry').click()
    await settle()
    expect(page.button('6 problems with links')).toBeTruthy()
  })

  test('Esc goes back, and the focus goes to the title of what is shown', async () => {
    await healthPage()
    expect(document.activeElement?.textContent).toBe('Health of links')
    press(document.activeElement, 'Escape')
    await settle()
    expect(document.activeElement?.textContent).toBe('Links')
  })
})

describe('a folder that moved', () => {
  test('first what would change, then the change', async () => {
    const page = await linksPlace({ inComfyUI: true })
    page.button('A folder moved…').click()
    await settle()
    expect([...page.find('datalist').children].map((/** @type {any} */ one) => one.value)).toContain('/mnt/old/ComfyUI')
    type(page.find('#lib-move-oldPrefix'), '/mnt/usb')
    type(page.find('#lib-move-newPrefix'), '/mnt/usb2')
    await settle()
    page.button('See what would change').click()
    await settle()
    for (const words of ['1 link would follow', '1 link is left as it was', 'is not there, so nothing was pointed to it']) expect(page.text()).toContain(words)
    page.button('Let 1 link follow').click()
    await settle()
    expect(sent(page, 'POST', '/links/relocate').map((/** @type {any} */ one) => one.dry_run)).toEqual([true, false])
    expect(page.text()).toContain('1 link leads to the new place')
    expect(page.refreshed.times).toBe(1)
  })

  test('another folder makes what was seen void', async () => {
    const page = await linksPlace()
    page.button('A folder moved…').click()
    await settle()
    type(page.find('#lib-move-oldPrefix'), '/mnt/usb')
    type(page.find('#lib-move-newPrefix'), '/mnt/usb2')
    await settle()
    page.button('See what would change').click()
    await settle()
    type(page.find('#lib-move-oldPrefix'), '/deeper')
    await settle()
    expect(page.text()).not.toContain('would follow')
    expect(() => page.button(/^Let/)).toThrow()
  })
})

describe('apps', () => {
  test('each with its kind, folders, links and how they do', async () => {
    const page = await linksPlace()
    const [comfy, forge] = page.all('.lib-app').map((one) => one.textContent ?? '')
    for (const words of ['ComfyUI 0.45.0', '3 kinds of folders', '812 links', '5 links need attention']) expect(comfy).toContain(words)
    expect(forge).toContain('Forge · 1 kind of folder · 0 links')
  })

  test('one more by its folder: what it was taken for is shown and can be corrected', async () => {
    const page = await linksPlace()
    page.button('Add an app…').click()
    await settle()
    type(page.find('#lib-app-root'), '/opt/webui')
    await settle()
    page.button('Add').click()
    await settle()
    const kind = page.find('.lib-added select')
    expect(kind.value).toBe('a1111')
    kind.value = 'forge'
    kind.dispatchEvent(new Event('change', { bubbles: true }))
    await settle()
    expect(sent(page, 'POST', '/apps')).toEqual([{ root: '/opt/webui' }, { root: '/opt/webui', kind: 'forge' }])
    page.button('Back').click()
    await settle()
    expect(page.all('.lib-app')).toHaveLength(3)
  })

  test('one that is refused: why, and what was typed stays', async () => {
    const page = await linksPlace()
    page.button('Add an app…').click()
    await settle()
    type(page.find('#lib-app-root'), 'webui')
    await settle()
    page.button('Add').click()
    await settle()
    expect(page.find('[role=alert]').textContent).toContain('webui is not a folder')
    expect(page.find('#lib-app-root').value).toBe('webui')
  })

  test('folders are chosen in the browser, and the import stays where it is', async () => {
    const page = await linksPlace()
    page.button('Add an app…').click()
    await settle()
    page.button('Browse…').click()
    await settle()
    page.find('.lib-browse-list [data-row]').click()
    await settle()
    const box = page.find('.lib-browse-all input')
    box.click()
    await settle()
    page.button('Take 1').click()
    await settle()
    expect(sent(page, 'POST', '/apps')).toEqual([{ root: '/srv/downloads' }])
    expect(page.text()).toContain('1 app added')
    expect(page.panel.panel.folders.get().open).toBe(false)
  })

  test('the links of one go after a yes in numbers; one that was not added stays in the list', async () => {
    const page = await linksPlace({ inComfyUI: true })
    page.button('More for ComfyUI').click()
    await settle()
    page.all('[role=menuitem]')[1]?.click()
    await settle()
    expect(page.find('.lib-dialog').textContent).toContain('812 links are removed.')
    expect(page.find('.lib-dialog').textContent).toContain('ComfyUI itself stays in this list.')
    page.button('Remove 812 links').click()
    await settle()
    expect(page.all('.lib-app')).toHaveLength(2)
    expect(page.refreshed.times).toBe(1)
  })

  test('one that was added is forgotten', async () => {
    const page = await linksPlace()
    page.button('More for Forge on the second drive').click()
    await settle()
    page.all('[role=menuitem]')[1]?.click()
    await settle()
    page.button('Remove the app').click()
    await settle()
    expect(page.all('.lib-app')).toHaveLength(1)
  })
})
