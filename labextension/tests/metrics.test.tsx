// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, describe, expect, test } from 'vitest';

import type { IApi } from '../src/api';
import { frameOf, HEIGHT, pathOf, shortNumber, WIDTH } from '../src/ddp/chart';
import { MetricsModel } from '../src/ddp/metricsModel';
import { ComparePart } from '../src/ddp/comparePart';
import { MetricsPart } from '../src/ddp/metricsPart';
import type { MetricSeries, Run } from '../src/wire';
import { Deferred, english, fakeApi, runOf, until } from './helpers';

afterEach(cleanup);

const run = (id: string, more: Partial<Run> = {}): Run =>
  runOf({ id, state: 'running', started_at: null, ended_at: null, exit_code: null, ...more });

const series = (name: string, ...values: (number | string)[]): MetricSeries => {
  const numbers = values.filter((value): value is number => typeof value === 'number');
  return {
    name,
    rank: 0,
    count: values.length,
    last: values.at(-1) ?? 0,
    least: numbers.length ? Math.min(...numbers) : null,
    most: numbers.length ? Math.max(...numbers) : null,
    points: values.map((value, x) => [x, value])
  };
};

const NONE = { left: 0, right: 0, bottom: 0, top: 0 };

describe('a chart', () => {
  test('fills its frame', () => {
    const loss = series('loss', 4, 2, 0);
    const frame = frameOf([loss]) ?? NONE;
    expect(frame).toEqual({ left: 0, right: 2, bottom: 0, top: 4 });
    expect(pathOf(loss, frame)).toBe(
      `M0.0 0.0L${WIDTH / 2}.0 ${HEIGHT / 2}.0L${WIDTH}.0 ${HEIGHT}.0`
    );
  });

  test('has a gap where a value is no number', () => {
    const loss = series('loss', 1, 2, 'nan', 3, 4);
    expect(pathOf(loss, frameOf([loss]) ?? NONE).replace(/[\d. ]+/g, '')).toBe('MLML');
  });

  test.each([[[5]], [[0]], [[-1, -1]], [[1e308, -1e308]], [[1e-320, 0]], [[Number.MAX_VALUE]]])(
    'of %j is finite',
    values => {
      const one = series('x', ...values);
      const path = pathOf(one, frameOf([one]) ?? NONE);
      expect(path).not.toMatch(/NaN|Infinity/);
      expect(path).not.toBe('');
    }
  );

  test('of nothing is none', () => {
    expect(frameOf([])).toBeNull();
    expect(frameOf([series('x', 'nan', 'inf')])).toBeNull();
  });

  test('numbers are short', () => {
    expect([0, 0.5, 1 / 3, 1e-5, 123456.7, 1e7, -2, 'nan'].map(shortNumber)).toEqual([
      ...['0', '0.5', '0.3333', '1.00e-5', '123500', '1.00e+7', '-2', 'nan']
    ]);
  });
});

function model(known: Partial<IApi>): MetricsModel {
  return new MetricsModel({ api: fakeApi(known), id: 'mine', every: 5 });
}

describe('the numbers of a run', () => {
  test('are asked for while it goes on, once after its end, and then no more', async () => {
    let asked = 0;
    const metrics = model({
      ddpMetrics: () => Promise.resolve({ complete: true, series: [series('loss', ++asked)] })
    });
    metrics.runChanged(run('mine'));
    metrics.runChanged(run('mine')); // a change that says nothing new
    await until(() => asked >= 3);
    metrics.runChanged(run('mine', { state: 'succeeded' }));
    await until(() => metrics.state.series[0]?.last === asked);
    const after = asked;
    await new Promise(resolve => setTimeout(resolve, 30));
    expect(asked).toBe(after);
    metrics.dispose();
  });

  test('of a long log come in parts, without a pause', async () => {
    let parts = 0;
    const metrics = model({
      ddpMetrics: () => Promise.resolve({ complete: ++parts === 4, series: [series('y', parts)] })
    });
    metrics.runChanged(run('mine', { state: 'failed' }));
    await until(() => metrics.state.series[0]?.last === 4);
    metrics.dispose();
  });

  test('a lost connection is told, and asked again', async () => {
    let asked = 0;
    const metrics = model({
      ddpMetrics: () =>
        ++asked === 1
          ? Promise.reject(new Error('gone'))
          : Promise.resolve({ complete: true, series: [series('y', 1)] })
    });
    metrics.runChanged(run('mine'));
    await until(() => metrics.state.error !== null || metrics.state.series.length > 0);
    await until(() => metrics.state.series.length > 0);
    expect(metrics.state.error).toBeNull();
    metrics.dispose();
  });

  test('nothing comes after it is disposed', async () => {
    const slow = new Deferred<{ complete: boolean; series: MetricSeries[] }>();
    const metrics = model({ ddpMetrics: () => slow.promise });
    metrics.runChanged(run('mine'));
    metrics.dispose();
    slow.resolve({ complete: true, series: [series('y', 1)] });
    await new Promise(resolve => setTimeout(resolve, 10));
    expect(metrics.state.series).toEqual([]);
  });
});

test('charts say in words what they draw; another run of the script is drawn beside them', async () => {
  const metrics = model({
    ddpMetrics: id =>
      Promise.resolve({
        complete: true,
        series: id === 'mine' ? [series('loss', 3, 1), series('<b>', 1)] : [series('loss', 5, 4)]
      }),
    ddpRuns: () =>
      Promise.resolve([
        run('mine'),
        run('x', { script: 'b.py' }),
        run('old', { arguments: ['-lr'] })
      ])
  });
  const Drawn = (): React.ReactElement | null => {
    const [, again] = React.useReducer((count: number) => count + 1, 0);
    React.useEffect(() => {
      metrics.stateChanged.connect(again);
      return () => void metrics.stateChanged.disconnect(again);
    }, []);
    return (
      <>
        <MetricsPart model={metrics} run={run('mine')} trans={english} />
        {metrics.state.series.length > 0 && (
          <ComparePart model={metrics} run={run('mine')} trans={english} />
        )}
      </>
    );
  };
  const { container } = render(<Drawn />);
  expect(container.textContent).toBe('');
  metrics.runChanged(run('mine', { state: 'succeeded' }));
  await screen.findByRole('img', { name: 'loss: 2 values, the last 1; 1 to 3' });
  expect(container.querySelector('figcaption b b')).toBeNull();
  const choice = screen.getByLabelText('Compare with');
  await userEvent.click(choice);
  await screen.findByRole('option', { name: 'old' });
  expect(screen.queryByRole('option', { name: 'x' })).toBeNull();
  await userEvent.selectOptions(choice, 'old');
  await screen.findByText('Dashed: old -lr');
  expect(container.querySelectorAll('path.gpucamp-mod-other')).toHaveLength(1);
  await userEvent.selectOptions(choice, '');
  await waitFor(() => expect(container.querySelector('.gpucamp-mod-other')).toBeNull());
  metrics.dispose();
});
