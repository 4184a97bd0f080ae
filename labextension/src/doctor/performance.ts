/**
 * A measurement as a state and the events that change it. Pure.
 *
 * Guarantees: a figure, and what was skipped, is there once, in the order in which it came; the result replaces what
 * was gathered before it; an event that does not fit leaves the state as it was; what was measured before a failure
 * or a stop stays.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Finding, Verdict } from '../wire';

/** FLOPS or bytes per second. */
export interface Figure {
  name: string;
  /** In the reader's language. */
  title: string;
  /** The number of the GPU; null: the CPU, or several. */
  device: number | null;
  device_name: string;
  value: number;
  unit: 'FLOPS' | 'B/s';
  /** What this model should reach; null: nobody can say. */
  expected: number | null;
  size: number;
}

export interface Skipped {
  name: string;
  title: string;
  text: string;
  device: number | null;
}

export interface PerformanceResult {
  started_at: string;
  seconds: number;
  kernel: string;
  torch: string;
  verdict: Verdict;
  figures: Figure[];
  skipped: Skipped[];
  findings: Finding[];
}

export type PerformanceEvent =
  | { event: 'started'; kernel: string }
  | { event: 'step'; name: string; title: string; done: number; steps: number }
  | { event: 'figure'; figure: Figure }
  | { event: 'skipped'; skipped: Skipped }
  | { event: 'finding'; finding: Finding }
  | { event: 'finished'; result: PerformanceResult }
  | { event: 'error'; status: number; message: string };

export interface Measurement {
  phase: 'idle' | 'running' | 'finished' | 'cancelled' | 'failed';
  kernel: string;
  /** What is being measured, in the reader's language; empty: it is prepared. */
  step: string;
  done: number;
  /** 0 until the server said it. */
  steps: number;
  figures: Figure[];
  skipped: Skipped[];
  findings: Finding[];
  result: PerformanceResult | null;
  error: unknown;
}

export const NOT_MEASURED: Measurement = {
  phase: 'idle',
  kernel: '',
  step: '',
  done: 0,
  steps: 0,
  figures: [],
  skipped: [],
  findings: [],
  result: null,
  error: null
};

export function begin(kernel: string): Measurement {
  return { ...NOT_MEASURED, phase: 'running', kernel };
}

export function apply(state: Measurement, event: PerformanceEvent): Measurement {
  switch (event.event) {
    case 'started':
      return { ...state, kernel: event.kernel };
    case 'step':
      return {
        ...state,
        step: event.title,
        steps: event.steps,
        done: Math.min(Math.max(state.done, event.done), event.steps)
      };
    case 'figure':
      return {
        ...state,
        figures: [...state.figures.filter(known => !isSame(known, event.figure)), event.figure]
      };
    case 'skipped':
      return {
        ...state,
        skipped: [...state.skipped.filter(known => !isSame(known, event.skipped)), event.skipped]
      };
    case 'finding':
      return { ...state, findings: [...state.findings, event.finding] };
    case 'finished':
      return ofResult(event.result);
    default:
      return state;
  }
}

function isSame(
  one: { name: string; device: number | null },
  other: { name: string; device: number | null }
): boolean {
  return one.name === other.name && one.device === other.device;
}

/** The state that a whole result stands for. */
export function ofResult(result: PerformanceResult): Measurement {
  return {
    ...NOT_MEASURED,
    phase: 'finished',
    kernel: result.kernel,
    figures: result.figures,
    skipped: result.skipped,
    findings: result.findings,
    result
  };
}

/** "19.5 TFLOPS", "25.1 GB/s". */
export function amountText(value: number, unit: Figure['unit']): string {
  const prefixes: [number, string][] = [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M']
  ];
  for (const [factor, prefix] of prefixes) {
    // Bandwidths are compared in GB/s, however large.
    if (value >= factor && !(prefix === 'T' && unit === 'B/s')) {
      return `${(value / factor).toFixed(1)} ${prefix}${unit}`;
    }
  }
  return `${value.toFixed(0)} ${unit}`;
}

/** Percent of what is expected; null where nothing is. */
export function shareOf(figure: Figure): number | null {
  return figure.expected !== null && figure.expected > 0
    ? Math.round((figure.value / figure.expected) * 100)
    : null;
}

/** Where a figure belongs: "NVIDIA L4 (cuda:0)"; empty: the server. */
export function placeOf(figure: { device: number | null; device_name?: string }): string {
  if (figure.device === null) {
    return '';
  }
  const number = `cuda:${figure.device}`;
  return figure.device_name ? `${figure.device_name} (${number})` : number;
}

/** Figures in groups of one place each, in order. */
export function byPlace(figures: readonly Figure[]): [string, Figure[]][] {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures) {
    const place = placeOf(figure);
    groups.set(place, [...(groups.get(place) ?? []), figure]);
  }
  return [...groups];
}

/** What has come out, in a sentence. */
export function outcomeText(state: Measurement, trans: TranslationBundle): string {
  switch (state.phase) {
    case 'idle':
      return trans.__('Not measured yet');
    case 'running':
      return trans.__('Measuring…');
    case 'cancelled':
      return trans.__('The measurement was stopped');
    case 'failed':
      return trans.__('The measurement did not finish');
    case 'finished': {
      const problems = state.findings.filter(finding => finding.severity !== 'advice').length;
      if (problems) {
        return trans._n('%1 thing is too slow', '%1 things are too slow', problems);
      }
      if (state.figures.length === 0) {
        return trans.__('Nothing could be measured');
      }
      return state.figures.some(figure => figure.expected !== null)
        ? trans.__('As fast as it should be')
        : trans.__('Measured; there is nothing to compare it with');
    }
  }
}

/** All of it as text, for a chat. */
export function asText(state: Measurement, trans: TranslationBundle): string {
  const lines = [
    trans.__('Performance of the kernel %1: %2', state.kernel, outcomeText(state, trans)),
    ...(state.result?.torch ? [`torch ${state.result.torch}`] : [])
  ];
  for (const [place, figures] of byPlace(state.figures)) {
    lines.push(...(place ? ['', place] : ['']));
    for (const figure of figures) {
      const share = shareOf(figure);
      const amount = `${figure.title}: ${amountText(figure.value, figure.unit)}`;
      lines.push(
        share === null ? amount : `${amount} (${trans.__('%1 % of the expected', share)})`
      );
    }
  }
  if (state.skipped.length) {
    lines.push('', ...state.skipped.map(item => skippedText(item, trans)));
  }
  for (const finding of state.findings) {
    lines.push('', `${finding.code} ${finding.title}`, trans.__('Fix: %1', finding.fix));
  }
  return lines.join('\n');
}

/** What was skipped, and why, in a line. */
export function skippedText(item: Skipped, trans: TranslationBundle): string {
  const place = placeOf(item);
  const what = place ? `${item.title} (${place})` : item.title;
  return trans.__('%1: skipped, %2', what, item.text);
}

/** All of it, or what there is of it, as JSON. */
export function asJson(state: Measurement): string {
  const { kernel, figures, skipped, findings } = state;
  return JSON.stringify(state.result ?? { kernel, figures, skipped, findings }, null, 2);
}
