import { html, useEffect, useRef, useState } from '../../vendor/htm-preact.mjs'
import { useI18n, usePanel } from './context.mjs'

/** Milliseconds for which a place must be there before its film is loaded: who scrolls fast loads none. */
export const CALM = 300

/** Whether the person wants nothing to move by itself. */
const isStill = () => matchMedia('(prefers-reduced-motion: reduce)').matches

/** Lets go of what is loaded at once; an element that is only removed goes on loading for a while. @param {HTMLVideoElement | null} film */
function release(film) {
  film?.removeAttribute('src')
  film?.load()
}

/** A film where a picture would be: its first frame stands there, and it plays while one points at it.
 * @param {{src: string, meanwhile: any, onError: () => void}} props `meanwhile` stands there until it is loaded */
export function HoverFilm({ src, meanwhile, onError }) {
  const [wanted, setWanted] = useState(false)
  const ref = useRef(/** @type {HTMLVideoElement | null} */ (null))
  useEffect(() => {
    const timer = setTimeout(() => setWanted(true), CALM)
    return () => clearTimeout(timer)
  }, [])
  useEffect(() => {
    const film = ref.current
    if (!film) return undefined
    const place = film.closest('[role=option], button') ?? film
    const play = () => {
      if (!isStill()) void film.play().catch(() => {})
    }
    const stop = () => {
      film.pause()
      film.currentTime = 0
    }
    place.addEventListener('pointerenter', play)
    place.addEventListener('pointerleave', stop)
    return () => {
      place.removeEventListener('pointerenter', play)
      place.removeEventListener('pointerleave', stop)
      release(film)
    }
  }, [wanted])
  if (!wanted) return meanwhile
  return html`<video ref=${ref} muted loop playsinline disablepictureinpicture tabindex="-1" preload="metadata" src=${src} onError=${onError}></video>`
}

/** A model's film in its details. It plays by itself, without a sound, unless the person wants nothing to move.
 * @param {{src: string}} props */
export function Film({ src }) {
  const { host } = usePanel()
  const { t } = useI18n()
  const [failed, setFailed] = useState(false)
  const ref = useRef(/** @type {HTMLVideoElement | null} */ (null))
  useEffect(() => {
    const film = ref.current
    return () => release(film)
  }, [])
  if (failed) return null
  return html`<video class="lib-film" ref=${ref} muted loop playsinline controls autoplay=${!isStill()} preload="metadata" aria-label=${t('details.film')}
    src=${host.url(src)} onError=${() => setFailed(true)}></video>`
}
