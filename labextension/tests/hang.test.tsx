// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen } from '@testing-library/react';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { HangBox } from '../src/ddp/hangPart';
import { RunModel } from '../src/ddp/runModel';
import { TestId } from '../src/testids';
import type { Hang, LogEvent, Run } from '../src/wire';
import { english, fakeApi, until } from './helpers';

afterEach(cleanup);

const hang: Hang = {
  since: '2026-01-31T12:00:00Z',
  cause: 'Rank 1 sleeps <b>(train.py:3)</b>, and the others wait for it in all_reduce().',
  fix: 'Take the wait out.',
  rank: 1,
  ranks: [
    {
      rank: 0,
      doing: 'waits in all_reduce()',
      where: 'train.py:4 in main',
      collective: 'all_reduce()',
      frames: ['all_reduce (torch/distributed/distributed_c10d.py:2942)', 'main (train.py:4)']
    },
    { rank: 1, doing: 'sleeps', where: '', collective: null, frames: [] }
  ]
};

function draw(alive: boolean): void {
  render(<HangBox hang={hang} alive={alive} trans={english} />);
}

test('a hang says why and names the rank', () => {
  draw(true);
  const box = screen.getByRole('alert');
  expect(box.textContent).toContain('This run hangs: nothing');
  expect(box.textContent).toContain('sleeps <b>(train.py:3)</b>, and the others'); // as text
  expect(screen.getAllByText('rank 1').length).toBe(2);
});

test('the stacks are folded, one for each rank that has one', () => {
  draw(true);
  const folded = [...document.querySelectorAll('details')];
  expect(folded.map(one => one.open)).toEqual([false, false]);
  expect(document.querySelectorAll('pre').length).toBe(1);
  expect(document.querySelector('pre')?.textContent).toContain('main (train.py:4)');
});

test('a run that ended while it hung is not announced', () => {
  draw(false);
  expect(screen.queryByRole('alert')).toBeNull();
  expect(screen.getByTestId(TestId.ddpHang).textContent).toContain('when this run ended');
});

test('an open run learns that it hangs, and that it goes on', async () => {
  const base: Run = {
    id: '1',
    script: 'a.py',
    command: 'torchrun a.py',
    processes: 2,
    state: 'running',
    started_at: null,
    ended_at: null,
    exit_code: null,
    diagnosis: null
  };
  let now: Hang | null = null;
  const following = new RunModel({
    api: fakeApi({
      ddpRun: () => Promise.resolve({ ...base, hang: now }),
      ddpLog: async function* (_id, _offset, signal): AsyncGenerator<LogEvent> {
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')))
        );
        yield { event: 'end', run: base };
      }
    }),
    id: '1',
    lookForHangEvery: 2
  });
  let changes = 0;
  following.stateChanged.connect(() => (changes += 1));
  const over = following.follow();
  await until(() => following.state.connected);
  now = hang;
  await until(() => following.state.run?.hang?.rank === 1);
  const before = changes;
  await new Promise(resolve => setTimeout(resolve, 20));
  expect(changes).toBe(before); // the same answer draws nothing anew
  now = null;
  await until(() => following.state.run?.hang === null);
  following.dispose();
  await over;
});
