// @vitest-environment node
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { LANGUAGES, chooseLanguage, createI18n } from '../../web/app/i18n.mjs'
import { parsePaths, splitMiddle } from '../../web/app/text.mjs'
import { trustOf } from '../../web/app/trust.mjs'

const root = `${join(import.meta.dirname, '..', '..')}/`
const load = (/** @type {string} */ path) => JSON.parse(readFileSync(`${root}${path}`, 'utf8'))
const PLURALS = new Set(['zero', 'one', 'two', 'few', 'many', 'other'])

/** @param {any} tree @param {string} [at] @returns {string[]} */
const keys = (tree, at = '') => {
  if (typeof tree !== 'object') return [at]
  // How many plural forms there are is the language's own affair.
  if (Object.keys(tree).every((key) => PLURALS.has(key))) return [at]
  return Object.entries(tree).flatMap(([key, value]) => keys(value, at ? `${at}.${key}` : key))
}

describe('locales', () => {
  test.each(['main.json', 'commands.json'])('%s has the same keys in every language', (file) => {
    const languages = readdirSync(`${root}locales`)
    expect(languages).toContain('zh')
    const english = keys(load(`locales/en/${file}`)).sort()
    // What the server says has its English there; tests/core/test_sentences.py holds the rest to it.
    const words = (/** @type {string} */ language) => keys(load(`locales/${language}/${file}`)).filter((key) => !key.startsWith('librarian.said.'))
    for (const language of languages) expect(words(language).sort(), language).toEqual(english)
  })

  test('the panel knows which languages there are', () => {
    expect(LANGUAGES.slice().sort()).toEqual(readdirSync(`${root}locales`).sort())
    expect(chooseLanguage('zh-TW')).toEqual({ language: 'zh', tag: 'zh-TW' })
    expect(chooseLanguage('en_GB')).toEqual({ language: 'en', tag: 'en-GB' })
    expect(chooseLanguage('ru')).toEqual({ language: 'en', tag: 'en' })
  })

  test('the placeholders are the same', () => {
    const placeholders = (/** @type {any} */ value) => [...new Set(JSON.stringify(value).match(/\{\w+\}/g) ?? [])].sort()
    const at = (/** @type {any} */ tree, /** @type {string} */ key) => key.split('.').reduce((node, part) => node[part], tree)
    const [en, zh] = [load('locales/en/main.json'), load('locales/zh/main.json')]
    for (const key of keys(en)) expect(placeholders(at(zh, key)), key).toEqual(placeholders(at(en, key)))
  })

  test('all is below one key of ours, since ComfyUI merges all packages', () => {
    expect(Object.keys(load('locales/en/main.json'))).toEqual(['librarian'])
  })

  test('every word that the panel asks for exists', () => {
    const files = readdirSync(`${root}web/app`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.mjs'))
    const asked = new Set(
      files.flatMap((name) => [...readFileSync(`${root}web/app/${name}`, 'utf8').matchAll(/(?<![\w.])t\(\s*'([\w.]+)'/g)].map((found) => found[1]))
    )
    expect(asked.size).toBeGreaterThan(150)
    const there = new Set(keys(load('locales/en/main.json').librarian))
    expect([...asked].filter((key) => !there.has(/** @type {string} */ (key)))).toEqual([])
  })
})

describe('words', () => {
  const { t, bytes, duration } = createI18n('en-US', load('locales/en/main.json').librarian)

  test('plurals and numbers', () => {
    expect(t('search.all', { count: 1 })).toBe('1 model')
    expect(t('search.all', { count: 10_000 })).toBe('10,000 models')
  })

  test('bytes', () => {
    expect([0, 999, 999_600, 6_938_078_334, 67_040_989, null].map(bytes)).toEqual(['0 bytes', '999 bytes', '1 MB', '6.94 GB', '67 MB', '–'])
  })

  test('durations', () => {
    expect([4.4, 89, 7265].map(duration)).toEqual(['4 s', '1 min', '2 h 1 min'])
  })

  test('an odd language setting does not stop the panel', () => {
    expect(createI18n('xx_!!', {}).t('a.b')).toBe('a.b')
  })

  test('a name from right to left leaves the words around it their order', () => {
    const { t } = createI18n('en', { asked: 'Delete {name}, {count} of 3?' })
    expect(t('asked', { name: 'زأب', count: 2 })).toBe('Delete \u2068زأب\u2069, 2 of 3?')
    expect(t('asked', { name: 'flux', count: 2 })).toBe('Delete flux, 2 of 3?')
  })
})

describe('what the server says', () => {
  const zh = createI18n('zh-CN', load('locales/zh/main.json').librarian)
  const full = { message: 'Not enough room …', said: { code: 'insufficient_space', parameters: { place: '/模型', needed_bytes: 6_938_078_334, free_bytes: 67_040_989 } } }

  test('is said in the language of the panel, with sizes as it writes them', () => {
    expect(zh.told(full)).toBe('/模型 空间不足：需要 6.94 GB，可用 67 MB。请腾出空间，或将库移到更大的磁盘。')
  })

  test('also where one sentence holds another', () => {
    const said = { code: 'network_unavailable', parameters: { host: 'huggingface.co', why: { code: 'no_answer_in_time', parameters: {} } } }
    expect(zh.told({ message: 'huggingface.co cannot be reached: no answer in time.', said })).toBe('无法连接 huggingface.co：等待答复超时。')
  })

  test('stays English in English, and where the language lacks it or a part of it', () => {
    const message = 'Something new.'
    expect(createI18n('en', load('locales/en/main.json').librarian).told(full)).toBe(full.message)
    expect(zh.told({ message, said: { code: 'not_known_here', parameters: {} } })).toBe(message)
    expect(zh.told({ message, said: { code: 'not_removable', parameters: { problem: { code: 'not_known_here', parameters: {} } } } })).toBe(message)
    expect([zh.told({ message }), zh.told({ message, said: null }), zh.told(null)]).toEqual([message, message, ''])
  })
})

describe('names', () => {
  test.each([
    ['Juggernaut-XL_v9_RunDiffusionPhoto_v2', /_v2$/],
    ['anime-illust-diffusion-character-consistency-style-lora-v3.2b', /v3\.2b$/],
    ['sd_xl_base_1.0_0.9vae.safetensors', /0\.9vae\.safetensors$/],
    ['写实摄影真实感增强模型超级长的名字带有版本号v2.5', /v2\.5$/]
  ])('%s keeps its version in sight', (name, end) => {
    const { head, tail } = splitMiddle(name)
    expect(head + tail).toBe(name)
    expect(tail).toMatch(end)
    expect(head.length).toBeGreaterThan(0)
  })

  test('short names stay whole, however long their extension', () => {
    for (const name of ['flux1-dev-fp8', 'flux1-dev-fp8.safetensors']) expect(splitMiddle(name)).toEqual({ head: name, tail: '' })
  })

  test('no tail begins with a space: the ellipsis leaves a gap as it is', () => {
    expect(splitMiddle('fox sparkle family portrait style v2').tail).toBe('style v2')
  })

  test('an emoji is never cut in two', () => {
    const family = '👩‍👩‍👧‍👦'
    for (let before = 8; before < 24; before += 1) {
      const { head, tail } = splitMiddle(`${'a'.repeat(before)}${family}${'b'.repeat(8)}`)
      expect([head.includes(family), tail.includes(family)].filter(Boolean)).toHaveLength(1)
    }
  })
})

describe('pasted paths', () => {
  test('lines, quotes, file addresses, and each once', () => {
    expect(parsePaths('/a/b.safetensors\r\n "C:\\models\\x y.ckpt" \n\nfile:///a/with%20space.gguf\nfile:///C:/x.pt\n/a/b.safetensors')).toEqual([
      '/a/b.safetensors', 'C:\\models\\x y.ckpt', '/a/with space.gguf', 'C:/x.pt'
    ])
  })
})

describe('trust', () => {
  test.each([
    [{ match_method: 'hash', match_confidence: 1 }, 'verified'],
    [{ match_method: 'filename_exact', match_confidence: 0.93 }, 'high'],
    [{ match_method: 'filename_fuzzy', match_confidence: 0.7 }, 'low'],
    [{ match_method: 'filename_exact', match_confidence: 0.7, hash_mismatch: true }, 'modified'],
    [{ match_method: 'none', match_confidence: 0 }, 'none'],
    [{}, 'none']
  ])('%o is %s', (match, trust) => expect(trustOf(match)).toBe(trust))
})
