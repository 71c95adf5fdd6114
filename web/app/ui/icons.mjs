import { html } from '../../vendor/htm-preact.mjs'

/**
 * Our own line icons on a grid of 24, because the standalone page has no icon font.
 * @type {Record<string, string>}
 */
const PATHS = {
  search: 'M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13ZM15.5 15.5 20 20',
  close: 'M6 6l12 12M18 6 6 18',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  right: 'M9.5 5.5 16 12l-6.5 6.5',
  down: 'M5.5 9.5 12 16l6.5-6.5',
  up: 'M5.5 14.5 12 8l6.5 6.5',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  check: 'M5 12.5 10 17.5 19.5 7',
  plus: 'M12 5v14M5 12h14',
  refresh: 'M19.5 12a7.5 7.5 0 1 1-2.2-5.3M19.5 4v4h-4',
  pencil: 'M5 19l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L9 18l-4 1ZM14.5 6.5l3 3',
  copy: 'M9 9h10v10H9ZM15 9V5H5v10h4',
  trash: 'M4.5 7h15M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7M10 10.5v5.5M14 10.5v5.5',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1.2 1.2M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1.2-1.2',
  unlink: 'M15.5 14.2l3.2-3.2A4 4 0 0 0 13 5.3l-1.2 1.2M8.500 9.800 5.300 13A4 4 0 0 0 11 18.700l1.200-1.200M4 4l16 16',
  folder: 'M3.500 18.500v-13h6l2 2.500h9v10.500Z',
  file: 'M6 3.500h8l4.500 4.500v12.500H6ZM13.500 3.500V8.500h5',
  tray: 'M12 4v10M8 10.500l4 4 4-4M4 14.500v5h16v-5',
  box: 'M12 3.500l7.500 4.200v8.600L12 20.500l-7.500-4.200V7.700ZM4.500 7.700 12 12l7.500-4.300M12 12v8.500',
  library: 'M5 4v16M9.500 4v16M14 4.500 18.500 19.500M3.500 20h17',
  activity: 'M3.500 12h4l2.500-7 4 14 2.500-7h4',
  settings: 'M4 8h9M17 8h3M4 16h3M11 16h9M15 5.800a2.200 2.200 0 1 1 0 4.400 2.200 2.200 0 0 1 0-4.400ZM9 13.800a2.200 2.200 0 1 1 0 4.400 2.200 2.200 0 0 1 0-4.400Z',
  grid: 'M4.500 4.500h6v6h-6ZM13.500 4.500h6v6h-6ZM4.500 13.500h6v6h-6ZM13.500 13.500h6v6h-6Z',
  list: 'M9 6.500h11M9 12h11M9 17.500h11M4.500 6.500h.01M4.500 12h.01M4.500 17.500h.01',
  tick: 'M4.500 4.500h15v15h-15ZM8.500 12.200l2.500 2.500 4.800-5',
  tag: 'M4 4h8l8 8-8 8-8-8ZM8 8h.01',
  drive: 'M4 13.500h16v5.500H4ZM6.500 5h11L20 13.500M6.500 5 4 13.500M16.500 16.300h.01',
  undo: 'M8.500 4.500 4.500 8.500l4 4M4.500 8.500h9.500a5.500 5.500 0 0 1 0 11H9',
  sort: 'M7 5v14M3.800 15.800 7 19l3.200-3.200M13 6.500h7.500M13 12h5.500M13 17.500h3.500',
  filter: 'M4 6h16M7 12h10M10 18h4',
  globe: 'M12 3.500a8.500 8.500 0 1 1 0 17 8.500 8.500 0 0 1 0-17ZM3.500 12h17M12 3.500c3 2.500 3 14.500 0 17M12 3.500c-3 2.500-3 14.500 0 17',
  offline: 'M4 4l16 16M8.500 7.500A6 6 0 0 1 17.500 10.500a4 4 0 0 1 2.200 6.700M5.500 11A4 4 0 0 0 7.500 18.500h9',
  info: 'M12 3.500a8.500 8.500 0 1 1 0 17 8.500 8.500 0 0 1 0-17ZM12 11v5.500M12 7.700v.01',
  warn: 'M12 4 21 19.500H3ZM12 10v4.500M12 17v.01',
  error: 'M12 3.500a8.500 8.500 0 1 1 0 17 8.500 8.500 0 0 1 0-17ZM12 7.500v5.500M12 16v.01',
  stop: 'M7 7h10v10H7Z',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5.500v13l10.500-6.500Z',
  lock: 'M6 11h12v9H6ZM8.500 11V8a3.500 3.500 0 0 1 7 0v3',
  heart: 'M12 19.500 5 12.500a4.300 4.300 0 0 1 0-6 4.300 4.300 0 0 1 6 0l1 1 1-1a4.300 4.300 0 0 1 6 6Z',
  shield: 'M12 3.500 5 6v5.500c0 4.500 3 7.500 7 9 4-1.500 7-4.500 7-9V6Z',
  verified: 'M12 3.500 5 6v5.500c0 4.500 3 7.500 7 9 4-1.500 7-4.500 7-9V6ZM8.700 12l2.400 2.400 4.300-4.600',
  likely: 'M5 12.500 10 17.500 19.500 7',
  unsure: 'M9 9.200a3 3 0 1 1 4.300 2.700c-.9.500-1.300 1-1.300 2.100M12 17.500v.01',
  modified: 'M4 9c3-3 5 2 8-1s5-2 8 0M4 16c3-3 5 2 8-1s5-2 8 0',
  dash: 'M7.500 12h9',
  layers: 'M12 4 20 8.500 12 13 4 8.500ZM4.500 12.500 12 16.700l7.500-4.200M4.500 16.200 12 20.400l7.500-4.200',
  spark: 'M12 3.500c.8 5 3.500 7.700 8.500 8.500-5 .8-7.700 3.500-8.500 8.500-.8-5-3.500-7.700-8.500-8.500 5-.8 7.700-3.500 8.500-8.500Z',
  eye: 'M3 12c2.500-4.300 5.500-6.500 9-6.500s6.500 2.200 9 6.500c-2.500 4.300-5.500 6.500-9 6.500S5.500 16.300 3 12ZM12 9.300a2.700 2.700 0 1 1 0 5.400 2.700 2.700 0 0 1 0-5.400Z',
  text: 'M5 6.500V5h14v1.500M12 5v14M9 19h6',
  wave: 'M4 10v4M8 7v10M12 4v16M16 8v8M20 10.500v3',
  controls: 'M6 4v6M6 14v6M12 4v3M12 11v9M18 4v9M18 17v3M4 12h4M10 9h4M16 15h4',
  expand: 'M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7',
  braces: 'M9 4.500c-3 0-1.500 6-4.500 7.500C7.500 13.500 6 19.500 9 19.500M15 4.500c3 0 1.500 6 4.500 7.500-3 1.500-1.500 7.500-4.500 7.500',
  chip: 'M7 7h10v10H7ZM10 4v3M14 4v3M10 17v3M14 17v3M4 10h3M4 14h3M17 10h3M17 14h3',
  open: 'M13 4.500h6.500V11M19.500 4.500 11 13M17 14v5.500H4.500V7H10'
}

/** What a kind of model looks like where it has no preview. @type {Record<string, string>} */
const BY_SUBTYPE = {
  checkpoints: 'layers',
  diffusion_models: 'chip',
  loras: 'spark',
  vae: 'eye',
  text_encoders: 'text',
  clip_vision: 'eye',
  controlnet: 'controls',
  upscale_models: 'expand',
  embeddings: 'braces',
  audio_encoders: 'wave'
}

/** @param {string | undefined} subtype */
export const iconOf = (subtype) => BY_SUBTYPE[subtype ?? ''] ?? 'box'

/** @param {{name: string, class?: string}} props */
export function Icon({ name, class: className = '' }) {
  return html`<svg class=${`lib-icon ${className}`} viewBox="0 0 24 24" data-icon=${name} aria-hidden="true" focusable="false">
    <path d=${PATHS[name] ?? PATHS['box']} />
  </svg>`
}
