/**
 * The colours of a log, as variables of JupyterLab's theme, so that they follow any theme. Pure.
 */

/** Of ranks, in turn. */
const RANKS = [
  '--jp-brand-color0',
  '--jp-success-color0',
  '--jp-warn-color0',
  '--jp-info-color0',
  '--jp-accent-color0',
  '--jp-ui-font-color2'
];

/** By the name that ANSI gives them: of the text, and of what is behind it. */
const COLOURS: Partial<Record<string, [ink: string, ground?: string]>> = {
  black: ['--jp-content-font-color2'],
  red: ['--jp-error-color1', '--jp-error-color3'],
  green: ['--jp-success-color1', '--jp-success-color3'],
  yellow: ['--jp-warn-color1', '--jp-warn-color3'],
  blue: ['--jp-brand-color1', '--jp-brand-color3'],
  magenta: ['--jp-mirror-editor-keyword-color'],
  cyan: ['--jp-info-color1']
};

export function rankInk(rank: number): string {
  return asValue(RANKS[rank % RANKS.length]);
}

/** @param name - Anser's, such as "ansi-bright-red"; empty: the log's own colour */
export function inkOf(name: string | null): string {
  return asValue(colour(name)?.[0]);
}

/** @param name - as for `inkOf` */
export function groundOf(name: string | null): string {
  return asValue(colour(name)?.[1]);
}

function colour(name: string | null): [ink: string, ground?: string] | undefined {
  return COLOURS[(name ?? '').replace(/^ansi-(bright-)?/, '')];
}

function asValue(variable: string | undefined): string {
  return variable ? `var(${variable})` : '';
}
