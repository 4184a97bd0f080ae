// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { LogBar } from '../src/ddp/logBar';
import { LogBuffer } from '../src/ddp/logBuffer';
import { isShown, LogView } from '../src/ddp/logView';
import { TestId } from '../src/testids';
import type { Run } from '../src/wire';
import { english, until } from './helpers';

afterEach(cleanup);

const RUN: Run = {
  id: '7',
  script: 'a.py',
  command: 'torchrun a.py',
  processes: 4,
  state: 'running',
  started_at: null,
  ended_at: null,
  exit_code: null,
  diagnosis: null,
  hidden_ranks: [3]
};

test.each([
  [{ rank: null, text: '' }, [true, true, true]],
  [{ rank: 1, text: '' }, [false, true, false]],
  [{ rank: null, text: 'LOSS' }, [true, true, false]],
  [{ rank: null, text: '\u001b[32m' }, [false, false, false]],
  [{ rank: 0, text: 'acc' }, [false, false, false]]
])('%j shows %j', (filter, shown) => {
  const lines = [
    { id: 0, rank: 0, text: 'loss=1' },
    { id: 1, rank: 1, text: '\u001b[32mloss\u001b[0m=2 acc=3' },
    { id: 2, rank: null, text: 'torchrun' }
  ];
  expect(lines.map(line => isShown(line, filter))).toEqual(shown);
});

test('lines are shown by rank and text, also those that come later', async () => {
  const buffer = new LogBuffer();
  const log = new LogView(buffer, 'Log', 'nothing', String);
  buffer.push(0, 'loss=1\nready\n');
  buffer.push(1, 'loss=2\n');
  log.changed();
  await until(() => log.node.querySelectorAll('div:not(.gpucamp-Log-note)').length === 3);
  render(<LogBar run={RUN} log={log} fileUrl="/user/ada/file" trans={english} />);
  const visible = (): (string | null)[] =>
    [...log.node.querySelectorAll<HTMLElement>('div:not(.gpucamp-Log-note)')]
      .filter(row => !row.hidden)
      .map(row => row.textContent);
  await userEvent.selectOptions(screen.getByTestId(TestId.ddpLogRank), '0');
  expect(visible()).toEqual(['[0] loss=1', '[0] ready']);
  await userEvent.type(screen.getByTestId(TestId.ddpLogSearch), 'LOSS');
  expect(visible()).toEqual(['[0] loss=1']);
  expect(screen.getByRole('status').textContent).toBe('1 line');
  buffer.push(0, 'loss=3\n');
  buffer.push(1, 'loss=4\n');
  log.changed();
  await until(() => visible().length === 2);
  expect(log.text()).toBe('[0] loss=1\n[0] loss=3\n');
  await userEvent.selectOptions(screen.getByTestId(TestId.ddpLogRank), '');
  await userEvent.clear(screen.getByTestId(TestId.ddpLogSearch));
  expect(visible()).toHaveLength(5);
  expect(screen.getByRole('status').textContent).toBe('');
  log.dispose();
});

test('the first line is drawn at once, and after that the page has rest', () => {
  vi.useFakeTimers();
  try {
    const buffer = new LogBuffer();
    const log = new LogView(buffer, 'Log', 'nothing', String);
    const text = (): string => log.node.textContent;
    const print = (line: string): void => {
      buffer.push(0, line);
      log.changed();
    };
    print('first\n');
    vi.advanceTimersByTime(0);
    expect(text()).toContain('first');
    print('second\n');
    vi.advanceTimersByTime(70);
    print('third\n');
    expect(text()).not.toContain('second');
    vi.advanceTimersByTime(20);
    expect(text()).toMatch(/second.*third/);
    vi.advanceTimersByTime(1000);
    print('fourth\n');
    vi.advanceTimersByTime(0);
    expect(text()).toContain('fourth');
    log.dispose();
  } finally {
    vi.useRealTimers();
  }
});

test('a rank that is not in the log cannot be chosen; the file can be had', () => {
  const log = { setFilter: () => 0 };
  render(<LogBar run={RUN} log={log} fileUrl="/user/ada/file" trans={english} />);
  const options = screen.getAllByRole('option').map(option => option.textContent);
  expect(options).toEqual(['all', '0', '1', '2']);
  const link = screen.getByRole('link', { name: 'Download the whole log' });
  expect(link.getAttribute('href')).toBe('/user/ada/file');
  expect(link.getAttribute('download')).toBe('7.log');
});
