/**
 * The usage of a run in words and lines. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { bytesText } from '../statusText';
import type { RankUsage, RunUsage, UsageKind, UsageSeries } from '../wire';
import { shortNumber, type Line } from './chart';

/** One line of a chart. whose: what it is of, in words; ink: the number of its colour. */
export interface UsageLine extends Line {
  whose: string;
  ink: number;
  last: number | null;
  other: Line | null;
}

export interface UsageChart {
  kind: UsageKind;
  lines: UsageLine[];
}

const KINDS: UsageKind[] = [
  'throughput',
  'cpu',
  'memory',
  'utilization',
  'device_memory',
  'gpu_memory'
];

/** The charts that there are values for. Of another run, the same rank or the GPU at the same place is beside it. */
export function chartsOf(
  usage: RunUsage,
  other: RunUsage | null,
  trans: TranslationBundle
): UsageChart[] {
  return KINDS.map(kind => {
    const all = usage.series.filter(one => one.kind === kind);
    // of several units only the one that the speed is told in
    const told = kind === 'throughput' ? all.filter(one => one.of === usage.throughput?.unit) : all;
    const lines = told.map(one => {
      const place = placeOf(one, usage);
      const match = other?.series.find(
        their => their.kind === kind && placeOf(their, other) === place && isSameUnit(their, one)
      );
      return {
        whose: whoseText(one, place, trans),
        ink: place,
        last: one.values.filter(value => value !== null).at(-1) ?? null,
        points: pointsOf(one, usage),
        other: match && other ? { points: pointsOf(match, other) } : null
      };
    });
    return { kind, lines: lines.sort((one, two) => one.ink - two.ink) };
  }).filter(chart => chart.lines.length > 0);
}

export function titleOf(kind: UsageKind, trans: TranslationBundle): string {
  switch (kind) {
    case 'cpu':
      return trans.__('CPU');
    case 'memory':
      return trans.__('Memory');
    case 'gpu_memory':
      return trans.__('GPU memory by rank');
    case 'utilization':
      return trans.__('GPU utilization');
    case 'device_memory':
      return trans.__('GPU memory');
    case 'throughput':
      return trans.__('Throughput');
  }
}

export function valueText(kind: UsageKind, value: number | null): string {
  if (value === null) {
    return '–';
  }
  switch (kind) {
    case 'cpu':
    case 'utilization':
      return `${Math.round(value)}%`;
    case 'throughput':
      return `${shortNumber(value)}/s`;
    default:
      return bytesText(value);
  }
}

/** How fast the run gets on, in the unit that its script counts; null where it counts nothing. */
export function throughputText(usage: RunUsage, trans: TranslationBundle): string | null {
  const { throughput } = usage;
  if (!throughput) {
    return null;
  }
  const mean = shortNumber(throughput.mean);
  switch (throughput.unit) {
    case 'step':
      return trans.__('%1 steps/s', mean);
    case 'batch':
      return trans.__('%1 batches/s', mean);
    case 'iteration':
      return trans.__('%1 iterations/s', mean);
    default:
      return trans.__('%1 epochs/s', mean);
  }
}

export function rankStateText(rank: RankUsage, trans: TranslationBundle): string {
  switch (rank.state) {
    case 'running':
      return trans.__('computes');
    case 'waiting':
      return trans.__('waits');
    case 'stopped':
      return trans.__('halted');
    case 'ended':
      if (rank.signal !== null) {
        return trans.__('ended by %1', rank.signal);
      }
      return rank.exit_code === null
        ? trans.__('ended')
        : trans.__('ended with %1', rank.exit_code);
  }
}

/** How many ranks are how, in a line. */
export function summaryText(usage: RunUsage, trans: TranslationBundle): string {
  const counts = new Map<string, number>();
  for (const rank of usage.ranks) {
    const text = rankStateText(rank, trans);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const states = [...counts].map(([text, count]) =>
    trans._n('%2: %1 rank', '%2: %1 ranks', count, text)
  );
  return [...states, throughputText(usage, trans)].filter(text => text !== null).join(' · ');
}

/** A rank's number, or a device's place in the list; 0 for what there is one of. */
function placeOf(series: UsageSeries, usage: RunUsage): number {
  return typeof series.of === 'number'
    ? series.of
    : Math.max(
        0,
        usage.devices.findIndex(device => device.uuid === series.of)
      );
}

function isSameUnit(one: UsageSeries, two: UsageSeries): boolean {
  return one.kind !== 'throughput' || one.of === two.of;
}

function whoseText(series: UsageSeries, place: number, trans: TranslationBundle): string {
  if (series.kind === 'throughput') {
    return '';
  }
  return typeof series.of === 'number' ? trans.__('rank %1', place) : trans.__('GPU %1', place);
}

function pointsOf(series: UsageSeries, usage: RunUsage): [number, number | null][] {
  const points = usage.times.map((time, at): [number, number | null] => [
    time,
    series.values[at] ?? null
  ]);
  // the speed is known only when the script prints: between that is no gap
  return series.kind === 'throughput' ? points.filter(([, value]) => value !== null) : points;
}
