// @vitest-environment jsdom
/**
 * Measuring as a person meets it: drawn in a document, driven by keyboard and clicks.
 */
import './dom';

import { act, cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { Clipboard } from '@jupyterlab/apputils';
import * as React from 'react';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import {
  amountText,
  apply,
  asJson,
  asText,
  begin,
  type Figure,
  NOT_MEASURED,
  outcomeText,
  type PerformanceEvent,
  type PerformanceResult,
  shareOf
} from '../src/doctor/performance';
import { PerformanceModel } from '../src/doctor/performanceModel';
import { Performance } from '../src/doctor/performancePart';
import { ApiError } from '../src/errors';
import type { Finding } from '../src/wire';
import { english, until } from './helpers';

const figure = (name: string, more: Partial<Figure> = {}): Figure => ({
  name,
  title: `Title of ${name}`,
  device: 0,
  device_name: 'NVIDIA L4',
  value: 60e12,
  unit: 'FLOPS',
  expected: 48e12,
  size: 8192,
  ...more
});
const cpu = figure('cpu-copy', {
  device: null,
  device_name: '',
  value: 18e9,
  unit: 'B/s',
  expected: null
});
const skipped = { name: 'all-reduce-nccl', title: 'NCCL', text: 'it takes two GPUs', device: null };
const finding: Finding = {
  code: 'GC601',
  severity: 'degraded',
  title: 'Slow',
  evidence: [],
  fix: 'Tell your instructor.',
  who: 'instructor'
};
const result = (more: Partial<PerformanceResult> = {}): PerformanceResult => ({
  started_at: new Date().toISOString(),
  seconds: 4,
  kernel: 'python3',
  torch: '2.9.1+cu128',
  verdict: 'healthy',
  figures: [figure('matmul-fp16'), cpu],
  skipped: [skipped],
  findings: [],
  ...more
});

/** A server that says what the test says, when it says it. */
class Server {
  last: PerformanceResult | null = null;
  refusal: ApiError | null = null;
  readonly asked: string[] = [];
  readonly signals: AbortSignal[] = [];
  private _events: (PerformanceEvent | null)[] = [];
  private _wake: () => void = () => undefined;

  say(...events: (PerformanceEvent | null)[]): void {
    this._events.push(...events);
    this._wake();
  }

  async *measure(kernel: string, signal: AbortSignal): AsyncGenerator<PerformanceEvent> {
    this.asked.push(kernel);
    this.signals.push(signal);
    if (this.refusal) {
      throw this.refusal;
    }
    this._events = [];
    for (;;) {
      const event = this._events.shift();
      if (event === null) {
        return;
      }
      if (event) {
        yield event;
        continue;
      }
      await new Promise<void>((resolve, reject) => {
        this._wake = resolve;
        signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      });
    }
  }

  lastPerformance(): Promise<PerformanceResult> {
    return this.last ? Promise.resolve(this.last) : Promise.reject(new ApiError('missing', ''));
  }
}

let server: Server;
let model: PerformanceModel;

beforeEach(() => {
  server = new Server();
  model = new PerformanceModel(server, 1);
});
afterEach(() => {
  cleanup();
  model.dispose();
});

const settle = (): Promise<void> => act(async () => new Promise(done => setTimeout(done, 5)));
async function say(...events: (PerformanceEvent | null)[]): Promise<void> {
  server.say(...events);
  await settle();
}

async function open(kernel = 'python3'): Promise<ReturnType<typeof render>> {
  const drawn = render(
    <Performance
      model={model}
      kernel={kernel}
      row={one => <li key={one.code}>{one.title}</li>}
      trans={english}
    />
  );
  await settle();
  return drawn;
}
const button = (name: string): HTMLElement => screen.getByRole('button', { name });
const row = (name: string): HTMLElement => screen.getByTestId(`gpucamp-performance-${name}`);

describe('the section', () => {
  test('measures nothing before somebody asks', async () => {
    await open();
    expect(server.asked).toEqual([]);
    expect(screen.getByRole('status').textContent).toBe('Not measured yet');
    expect(screen.getByRole('region', { name: 'Performance' })).toBeTruthy();
  });

  test('is driven by the keyboard, and its one button keeps the focus', async () => {
    await open();
    const user = userEvent.setup();
    await user.tab();
    const start = button('Measure');
    expect(document.activeElement).toBe(start);
    await user.keyboard('{Enter}');
    await settle();
    expect(server.asked).toEqual(['python3']);
    expect(document.activeElement).toBe(button('Stop measuring'));
    await user.keyboard('{Enter}');
    await settle();
    expect(server.signals[0]?.aborted).toBe(true);
    expect(screen.getByRole('status').textContent).toBe('The measurement was stopped');
    expect(document.activeElement).toBe(button('Measure again'));
  });

  test('shows figures as they come, with progress, in a table with words beside each bar', async () => {
    await open();
    await userEvent.click(button('Measure'));
    await say({ event: 'step', name: 'cuda:0 x', title: 'Matrix product', done: 2, steps: 8 });
    const progress = screen.getByRole<HTMLProgressElement>('progressbar');
    expect([progress.value, progress.max]).toEqual([2, 8]);
    expect(screen.getByText('Matrix product')).toBeTruthy();
    expect(screen.getByTestId('gpucamp-performance').getAttribute('aria-busy')).toBe('true');
    await say({ event: 'figure', figure: figure('matmul-fp16') });
    const table = screen.getByRole('table', { name: 'NVIDIA L4 (cuda:0)' });
    expect(within(table).getByRole('rowheader', { name: 'Title of matmul-fp16' })).toBeTruthy();
    expect(row('matmul-fp16').textContent).toContain('60.0 TFLOPS');
    expect(row('matmul-fp16').textContent).toContain('125 % of 48.0 TFLOPS');
    expect(row('matmul-fp16').querySelector('[aria-hidden="true"]')).not.toBeNull();
    await say({ event: 'figure', figure: figure('copy-d2d', { value: 20e12 }) });
    const bar = row('copy-d2d').querySelector<HTMLElement>('.gpucamp-Performance-fill');
    expect(bar?.className).toContain('gpucamp-mod-degraded');
    expect(parseFloat(bar?.style.width ?? '')).toBeCloseTo(33.6);
    await say({ event: 'finished', result: result() }, null);
    expect(screen.getByRole('status').textContent).toBe('As fast as it should be');
    expect(screen.getByRole('table', { name: 'This server' })).toBeTruthy();
    // Nobody knows what it should be, so there is no bar.
    expect(row('cpu-copy').querySelector('.gpucamp-Performance-bar')).toBeNull();
    expect(screen.getByText('NCCL: skipped, it takes two GPUs')).toBeTruthy();
    expect(screen.queryByRole('progressbar')).toBeNull();
  });

  test('says that nothing could be measured, and why', async () => {
    await open();
    await userEvent.click(button('Measure'));
    await say({ event: 'finished', result: result({ figures: [] }) }, null);
    expect(screen.getByRole('status').textContent).toBe('Nothing could be measured');
    expect(screen.getByRole('list', { name: 'Skipped' })).toBeTruthy();
  });

  test('shows findings as the panel does', async () => {
    await open();
    await userEvent.click(button('Measure'));
    await say({ event: 'finding', finding });
    const list = screen.getByRole('list', { name: 'What is too slow' });
    expect(within(list).getByText('Slow')).toBeTruthy();
    await say({ event: 'finished', result: result({ findings: [finding] }) }, null);
    expect(screen.getByRole('status').textContent).toBe('1 thing is too slow');
    expect(
      within(screen.getByRole('list', { name: 'What is too slow' })).getAllByRole('listitem')
    ).toHaveLength(1);
  });

  test('keeps what was measured when the server goes, says it, and measures again', async () => {
    await open();
    await userEvent.click(button('Measure'));
    await say({ event: 'figure', figure: figure('matmul-fp16') }, null);
    expect(screen.getByRole('alert').textContent).toContain('does not answer');
    expect(row('matmul-fp16')).toBeTruthy();
    await userEvent.click(button('Try again'));
    await settle();
    expect(server.asked).toHaveLength(2);
  });

  test('says why it is refused, in one sentence', async () => {
    server.refusal = new ApiError('refused', 'This server is being measured right now.', 409);
    await open();
    await userEvent.click(button('Measure'));
    await settle();
    expect(screen.getByRole('alert').textContent).toContain('being measured right now');
    expect(server.asked).toHaveLength(1);
  });

  test('copies as text and as JSON', async () => {
    const copied: string[] = [];
    const spy = vi.spyOn(Clipboard, 'copyToSystem').mockImplementation(data => {
      copied.push(data as string);
    });
    server.last = result();
    await open();
    await userEvent.click(button('Copy figures as text'));
    await userEvent.click(button('Copy figures as JSON'));
    spy.mockRestore();
    expect(copied[0]).toContain('Title of matmul-fp16: 60.0 TFLOPS (125 % of the expected)');
    expect(copied[0]).toContain('torch 2.9.1+cu128');
    expect(JSON.parse(copied[1] ?? '')).toEqual(server.last);
  });

  test('shows the last result of this kernel, and of no other', async () => {
    server.last = result();
    const { unmount } = await open();
    expect(screen.getByRole('status').textContent).toBe('As fast as it should be');
    unmount();
    model = new PerformanceModel(server, 1);
    await open('other');
    expect(screen.getByRole('status').textContent).toBe('Not measured yet');
  });
});

describe('the model', () => {
  test('waits until the server has ended what was stopped here', async () => {
    void model.measure('python3');
    await until(() => server.asked.length === 1);
    model.cancel();
    server.refusal = new ApiError('refused', 'busy', 409);
    const again = model.measure('python3');
    await until(() => server.asked.length >= 3);
    server.refusal = null;
    await until(() => model.state.phase === 'running' && server.signals.at(-1)?.aborted === false);
    await new Promise(done => setTimeout(done, 10));
    server.say({ event: 'finished', result: result() }, null);
    await again;
    expect(model.state.phase).toBe('finished');
  });

  test('ends with the panel', async () => {
    void model.measure('python3');
    await until(() => server.signals.length === 1);
    model.dispose();
    expect(server.signals[0]?.aborted).toBe(true);
  });

  test('tells an error in the middle of the stream', async () => {
    const over = model.measure('python3');
    await until(() => server.asked.length === 1);
    server.say({ event: 'error', status: 503, message: 'It was stopped.' });
    await over;
    expect(model.state.phase).toBe('failed');
    expect((model.state.error as ApiError).message).toBe('It was stopped.');
  });
});

describe('what is pure', () => {
  test('a figure is there once, a step never goes back, and the unknown changes nothing', () => {
    let state = begin('k');
    state = apply(state, { event: 'figure', figure: figure('a', { value: 1 }) });
    state = apply(state, { event: 'figure', figure: figure('a', { value: 2 }) });
    state = apply(state, { event: 'figure', figure: figure('a', { device: 1 }) });
    expect(state.figures.map(one => one.value)).toEqual([2, 60e12]);
    state = apply(state, { event: 'step', name: '', title: '', done: 5, steps: 8 });
    state = apply(state, { event: 'step', name: '', title: '', done: 3, steps: 8 });
    expect(state.done).toBe(5);
    expect(apply(state, { event: 'new' } as unknown as PerformanceEvent)).toBe(state);
  });

  test.each([
    [19.5e12, 'FLOPS', '19.5 TFLOPS'],
    [1.3e12, 'B/s', '1300.0 GB/s'],
    [508.4e6, 'B/s', '508.4 MB/s'],
    [12, 'B/s', '12 B/s']
  ] as const)('%d %s', (value, unit, text) => {
    expect(amountText(value, unit)).toBe(text);
  });

  test('nothing is compared with nothing', () => {
    expect(shareOf(cpu)).toBeNull();
    expect(shareOf(figure('x', { expected: 0 }))).toBeNull();
    const state = { ...NOT_MEASURED, phase: 'finished' as const, figures: [cpu] };
    expect(outcomeText(state, english)).toBe('Measured; there is nothing to compare it with');
    expect(JSON.parse(asJson(state))).toMatchObject({ figures: [cpu] });
    expect(asText({ ...state, findings: [finding] }, english)).toContain(
      'GC601 Slow\nFix: Tell your instructor.'
    );
  });
});
