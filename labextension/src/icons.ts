import { LabIcon } from '@jupyterlab/ui-components';

const svg = (body: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">` +
  `<g class="jp-icon3" fill="#616161">${body}</g></svg>`;

const CHIP =
  'M7 5h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm0 2v10h10V7z' +
  'M8 1h2v3H8zM14 1h2v3h-2zM8 20h2v3H8zM14 20h2v3h-2zM1 8h3v2H1zM1 14h3v2H1zM20 8h3v2h-3zM20 14h3v2h-3z';

/** A chip: everything about the GPU itself. */
export const gpuIcon = new LabIcon({
  name: 'gpucamp:gpu',
  svgstr: svg(`<path fill-rule="evenodd" d="${CHIP}M9 9h6v6H9z"/>`)
});

/** A chip with a pulse. */
export const doctorIcon = new LabIcon({
  name: 'gpucamp:doctor',
  svgstr: svg(
    `<path fill-rule="evenodd" d="${CHIP}"/>` +
      `<path d="M7.5 11.2h1.9l1.4-2.9 2.4 5.6 1.1-2.7h2.2v1.6h-1.1l-2.2 4.4-2.5-5.7-.3.5H7.5z"/>`
  )
});

/** One process that becomes several. */
export const ddpIcon = new LabIcon({
  name: 'gpucamp:ddp',
  svgstr: svg(
    `<circle cx="5" cy="12" r="3"/><circle cx="19" cy="4.5" r="2.5"/><circle cx="19" cy="12" r="2.5"/>` +
      `<circle cx="19" cy="19.5" r="2.5"/>` +
      `<path d="M7 11.2l9.5-6.9 1 1.5L8 12.7zM7.5 11h9v2h-9zM8 11.3l9.5 6.9-1 1.5L7 12.8z"/>`
  )
});

/** An arrow that goes back to the start. */
export const resetIcon = new LabIcon({
  name: 'gpucamp:reset',
  svgstr: svg(
    `<path d="M12 4a8 8 0 1 1-7.4 5h2.2A6 6 0 1 0 12 6v3.5L6.5 5 12 .5z"/>` +
      `<path d="M9.5 10.500h5a1 1 0 0 1 1 1v3a1 1 0 0 1-1 1h-5a1 1 0 0 1-1-1v-3a1 1 0 0 1 1-1z"/>`
  )
});
