// @vitest-environment jsdom
import './dom';

import { Widget } from '@lumino/widgets';
import { MessageLoop } from '@lumino/messaging';
import { cleanup, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, describe, expect, test } from 'vitest';

import type { IApi } from '../src/api';
import { MetricsModel } from '../src/ddp/metricsModel';
import { RunModel } from '../src/ddp/runModel';
import { RunNumbers } from '../src/ddp/runNumbers';
import { UsageModel } from '../src/ddp/usageModel';
import { UsagePart } from '../src/ddp/usagePart';
import {
  chartsOf,
  rankStateText,
  summaryText,
  throughputText,
  valueText
} from '../src/ddp/usageText';
import type { RankUsage, Run, RunUsage } from '../src/wire';
import { Deferred, english, fakeApi, runOf, until } from './helpers';

afterEach(cleanup);

const run = (id: string, more: Partial<Run> = {}): Run =>
  runOf({ id, state: 'running', started_at: null, ended_at: null, exit_code: null, ...more });

const rank = (number: number, more: Partial<RankUsage> = {}): RankUsage => ({
  rank: number,
  pid: 100 + number,
  state: 'running',
  cpu_percent: 50,
  memory_bytes: 2 ** 30,
  memory_peak_bytes: 2 ** 31,
  gpu_memory_bytes: null,
  gpu_memory_peak_bytes: null,
  device: null,
  starts: 1,
  ended_at: null,
  exit_code: null,
  signal: null,
  ...more
});

const device = (uuid: string): RunUsage['devices'][number] => ({
  uuid,
  name: 'A100',
  memory_bytes: 100,
  memory_used_bytes: 5,
  utilization_percent: 10
});

const usage = (more: Partial<RunUsage> = {}): RunUsage => ({
  elapsed_seconds: 4,
  throughput: null,
  ranks: [rank(0), rank(1)],
  devices: [],
  times: [1, 2, 4],
  series: [
    { kind: 'cpu', of: 1, values: [5, null, 7] },
    { kind: 'cpu', of: 0, values: [null, 50, 100] }
  ],
  ...more
});

describe('in words', () => {
  test.each([
    [rank(0), 'computes'],
    [rank(0, { state: 'waiting' }), 'waits'],
    [rank(0, { state: 'stopped' }), 'halted'],
    [rank(0, { state: 'ended' }), 'ended'],
    [rank(0, { state: 'ended', exit_code: 0 }), 'ended with 0'],
    [rank(0, { state: 'ended', exit_code: -9, signal: 'SIGKILL' }), 'ended by SIGKILL']
  ])('%#: a rank %s', (one, text) => {
    expect(rankStateText(one, english)).toBe(text);
  });

  test('the summary counts the ranks and tells the speed', () => {
    const throughput = { unit: 'step', mean: 12.345, last: 1 };
    const ranks = [rank(0), rank(1), rank(2, { state: 'waiting' })];
    expect(summaryText(usage({ ranks, throughput }), english)).toBe(
      'computes: 2 ranks · waits: 1 rank · 12.35 steps/s'
    );
    expect(summaryText(usage({ ranks: [] }), english)).toBe('');
  });

  test.each([
    ['batch', '2 batches/s'],
    ['iteration', '2 iterations/s'],
    ['epoch', '2 epochs/s']
  ])('the speed in %s', (unit, text) => {
    expect(throughputText(usage({ throughput: { unit, mean: 2, last: 2 } }), english)).toBe(text);
    expect(throughputText(usage(), english)).toBeNull();
  });

  test('values have their units', () => {
    expect(valueText('cpu', 99.6)).toBe('100%');
    expect(valueText('memory', 2 ** 30)).toBe('1 GiB');
    expect(valueText('throughput', 0.5)).toBe('0.5/s');
    expect(valueText('utilization', null)).toBe('–');
  });
});

describe('charts', () => {
  test('are there for what there are values of, rank by rank, with gaps', () => {
    const [chart, ...more] = chartsOf(usage(), null, english);
    expect(more).toEqual([]);
    expect(chart?.kind).toBe('cpu');
    expect(chart?.lines.map(line => [line.whose, line.last])).toEqual([
      ['rank 0', 100],
      ['rank 1', 7]
    ]);
    expect(chart?.lines[1]?.points).toEqual([
      [1, 5],
      [2, null],
      [4, 7]
    ]);
  });

  test('of GPUs of another run are beside those at the same place', () => {
    const one = (...uuids: string[]): RunUsage =>
      usage({
        devices: uuids.map(device),
        series: uuids.map((of, at) => ({ kind: 'utilization', of, values: [at, at, at] }))
      });
    const [chart] = chartsOf(one('GPU-a', 'GPU-b'), one('GPU-c'), english);
    expect(chart?.lines.map(line => [line.whose, line.other?.points[0]])).toEqual([
      ['GPU 0', [1, 0]],
      ['GPU 1', undefined]
    ]);
  });

  test('the speed is drawn in its unit only, without gaps, and never beside another unit', () => {
    const speed = (unit: string): RunUsage =>
      usage({
        throughput: { unit, mean: 1, last: 1 },
        series: [
          { kind: 'throughput', of: 'epoch', values: [9, 9, 9] },
          { kind: 'throughput', of: 'step', values: [1, null, 3] }
        ]
      });
    const [chart] = chartsOf(speed('step'), speed('step'), english);
    expect(chart?.lines.map(line => line.points)).toEqual([
      [
        [1, 1],
        [4, 3]
      ]
    ]);
    expect(chart?.lines[0]?.other?.points).toHaveLength(2);
    const epochs = usage({ series: [{ kind: 'throughput', of: 'epoch', values: [1, 1, 1] }] });
    expect(chartsOf(speed('step'), epochs, english)[0]?.lines[0]?.other).toBeNull();
  });
});

function model(known: Partial<IApi>): UsageModel {
  return new UsageModel({ api: fakeApi(known), id: 'mine', every: 5 });
}

describe('the usage of a run', () => {
  test('is asked for while it goes on, once after its end, and then no more', async () => {
    let asked = 0;
    const one = model({ ddpUsage: () => Promise.resolve(usage({ elapsed_seconds: ++asked })) });
    one.runChanged(run('mine'));
    await until(() => asked >= 3);
    one.runChanged(run('mine', { state: 'failed' }));
    await until(() => one.state.usage?.elapsed_seconds === asked);
    const after = asked;
    await new Promise(resolve => setTimeout(resolve, 30));
    expect(asked).toBe(after);
    one.dispose();
  });

  test('an error is told, and goes when the server answers again', async () => {
    let asked = 0;
    const errors: unknown[] = [];
    const one = model({
      ddpUsage: () => (++asked === 1 ? Promise.reject(new Error('gone')) : Promise.resolve(usage()))
    });
    one.stateChanged.connect(() => errors.push(one.state.error));
    one.runChanged(run('mine'));
    await until(() => one.state.usage !== null);
    expect(errors[0]).toBeInstanceOf(Error);
    expect(one.state.error).toBeNull();
    one.dispose();
  });

  test('of the runs to compare with, the last choice counts', async () => {
    const slow = new Deferred<RunUsage>();
    const one = model({
      ddpUsage: id => (id === 'slow' ? slow.promise : Promise.resolve(usage({ times: [8] })))
    });
    void one.compare('slow');
    await one.compare('fast');
    slow.resolve(usage());
    await new Promise(resolve => setTimeout(resolve, 5));
    expect(one.state.other?.times).toEqual([8]);
    await one.compare(null);
    expect(one.state.other).toBeNull();
    one.dispose();
  });
});

test('the table tells each rank, and what NVML does not tell', async () => {
  const ranks = [
    rank(0, { gpu_memory_bytes: 2 ** 20, device: 'GPU-b' }),
    rank(1, { state: 'ended', exit_code: -9, signal: 'SIGKILL', starts: 2 })
  ];
  const one = model({
    ddpUsage: () => Promise.resolve(usage({ ranks, devices: [device('GPU-a'), device('GPU-b')] }))
  });
  one.runChanged(run('mine', { state: 'failed' }));
  await until(() => one.state.usage !== null);
  render(<UsagePart model={one} run={run('mine')} trans={english} />);
  const rows = screen.getAllByRole('row', { hidden: true }).slice(1);
  const cells = rows.map(row =>
    within(row)
      .getAllByRole('cell', { hidden: true })
      .map(cell => cell.textContent)
  );
  expect(cells).toEqual([
    ['computes', '50%', '1 GiB', '2 GiB', '1 MiB (GPU 1)', '100'],
    ['ended by SIGKILL started 2 times', '', '', '2 GiB', 'NVML does not tell', '101']
  ]);
  expect(screen.getByText(/of the whole device/)).toBeTruthy();
  expect(
    screen.getByRole('img', {
      name: 'CPU over time; the last: rank 0 100%, rank 1 7%',
      hidden: true
    })
  ).toBeTruthy();
  one.dispose();
});

test('a run that prints nothing can be compared by what it uses', async () => {
  const api = fakeApi({
    ddpUsage: () => Promise.resolve(usage()),
    ddpMetrics: () => Promise.resolve({ complete: true, series: [] }),
    ddpRuns: () => Promise.resolve([run('mine'), run('old')])
  });
  const followed = new RunModel({ api, id: 'mine', run: run('mine', { state: 'succeeded' }) });
  const metrics = new MetricsModel({ api, id: 'mine' });
  const used = new UsageModel({ api, id: 'mine' });
  const numbers = new RunNumbers(followed, metrics, used, english);
  Widget.attach(numbers, document.body);
  await waitFor(() => {
    MessageLoop.flush();
    expect(screen.getByLabelText('Compare with')).toBeTruthy();
  });
  const choice = screen.getByLabelText('Compare with');
  await userEvent.click(choice);
  await screen.findByRole('option', { name: 'old' });
  await userEvent.selectOptions(choice, 'old');
  await waitFor(() => {
    MessageLoop.flush();
    expect(numbers.node.querySelectorAll('path.gpucamp-mod-other')).toHaveLength(2);
  });
  numbers.dispose();
  used.dispose();
  metrics.dispose();
  followed.dispose();
});
