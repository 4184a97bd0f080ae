// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen, within } from '@testing-library/react';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { RunList } from '../src/ddp/runList';
import type { Run } from '../src/wire';
import { english } from './helpers';

afterEach(cleanup);

const run = (id: string, more: Partial<Run> = {}): Run => ({
  id,
  script: `${id}.py`,
  command: `torchrun ${id}.py --lr 1`,
  processes: 2,
  state: 'failed',
  started_at: 0,
  ended_at: 65,
  exit_code: 1,
  diagnosis: null,
  ...more
});

function cells(runs: Run[]): (string | null)[][] {
  const nothing = (): void => undefined;
  render(
    <RunList
      runs={runs}
      error={null}
      trans={english}
      open={nothing}
      again={nothing}
      retry={nothing}
    />
  );
  const [head, ...rows] = screen.getAllByRole('row');
  expect(within(head as HTMLElement).getAllByRole('columnheader')).toHaveLength(8);
  return rows.map(row =>
    within(row)
      .getAllByRole('cell')
      .map(cell => cell.textContent)
  );
}

test('the history tells the arguments, the exit code and the seed', () => {
  const rows = cells([
    run('a', {
      seed: { value: '12345678901234567890', source: 'printed' },
      arguments: ['--lr', '1']
    }),
    run('b', { exit_code: 0, seed: null, state: 'succeeded' }),
    run('c', { exit_code: null, ended_at: null, state: 'lost' })
  ]);
  expect(rows.map(row => [row[1], row[5], row[6]])).toEqual([
    ['a.py --lr 1', '1', '12345678901234567890'],
    ['b.py', '0', 'not stated'],
    ['c.py', '', 'not stated']
  ]);
  expect(screen.getByTitle('torchrun a.py --lr 1')).toBeTruthy();
  expect(screen.getByTitle('The script printed it')).toBeTruthy();
});

test('a run that hangs is marked, one that hung when it ended is not', () => {
  const hang = { since: '2026-01-31T12:00:00Z', cause: 'c', fix: 'f', rank: null, ranks: [] };
  const rows = cells([
    run('a', { state: 'running', hang }),
    run('b', { state: 'running', hang: null }),
    run('c', { state: 'stopped', hang })
  ]);
  expect(rows.map(row => row[0]?.includes('Hangs'))).toEqual([true, false, false]);
});
