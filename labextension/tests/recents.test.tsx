// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { EMPTY_FORM, formOf } from '../src/ddp/form';
import { LaunchModel } from '../src/ddp/launchModel';
import { RecentPart } from '../src/ddp/recentPart';
import { launchText, recentLaunches } from '../src/ddp/recents';
import type { Run } from '../src/wire';
import { english, fakeApi, runOf } from './helpers';

afterEach(cleanup);

const form = { ...EMPTY_FORM, script: 'a.py', processes: '2' };
let count = 0;
const run = (change: Partial<Run> = {}): Run => runOf({ id: `run-${(count += 1)}`, ...change });

test('the newest distinct launches of the script are given, newest first', () => {
  const runs = [
    run({ arguments: ['--lr', '1'] }),
    run({ script: 'b.py', arguments: ['--lr', '7'] }),
    run({ arguments: ['--lr', '1'] }),
    run({ arguments: ['--lr', '1'], processes: 1 }),
    run({ arguments: ['--lr', '1'], environment: { SEED: '1' } }),
    run({ script: 'a.py', is_module: true, arguments: ['x'] })
  ];
  expect(recentLaunches(runs, form)).toEqual([runs[0], runs[3], runs[4]]);
});

test('a launch that the form says already is not offered', () => {
  const same = run({ arguments: ['--lr', '1'] });
  expect(recentLaunches([same], formOf(same))).toEqual([]);
  expect(recentLaunches([same], { ...formOf(same), processes: '1' })).toEqual([same]);
});

test('a module is another thing than a script of its name', () => {
  const module = run({ script: 'pack.train', is_module: true });
  const other = { ...form, script: 'pack.train', processes: '1' };
  expect(recentLaunches([module], { ...other, module: true })).toEqual([module]);
  expect(recentLaunches([module], other)).toEqual([]);
});

test('an empty form is offered the newest of each script, but none of elsewhere', () => {
  const runs = [
    run({ arguments: ['1'] }),
    run({ arguments: ['2'] }),
    run({ script: 'b.py' }),
    run({ script: '/tmp/c.py' }),
    run({ script: '../d.py' })
  ];
  expect(recentLaunches(runs, EMPTY_FORM)).toEqual([runs[0], runs[2]]);
});

test('there are at most five', () => {
  const runs = [...Array(20).keys()].map(n => run({ arguments: [`${n}`] }));
  expect(recentLaunches(runs, form)).toEqual(runs.slice(0, 5));
});

test('a launch in words names all that it fills in', () => {
  const all = run({
    arguments: ['--name', 'a b'],
    environment: { SEED: '1', OMP_NUM_THREADS: '4', NCCL_DEBUG: 'INFO' },
    max_restarts: 2,
    hidden_ranks: [1]
  });
  expect(launchText(all, english)).toBe(
    "2 processes · --name 'a b' · SEED=1 · OMP_NUM_THREADS=4 · NCCL_DEBUG=INFO · restarts: 2 · ranks in the log: 0"
  );
  expect(launchText(run({ processes: 1 }), english)).toBe('1 process');
});

test('one is filled in with the keyboard', async () => {
  const earlier = run({ arguments: ['--lr', '1'], environment: { SEED: '3' }, max_restarts: 1 });
  const model = new LaunchModel({
    api: fakeApi({
      ddpRuns: () => Promise.resolve([earlier]),
      ddpPlan: () => Promise.resolve({ command: 'x', warnings: [] })
    }),
    scripts: () => Promise.resolve([]),
    quiet: 1
  });
  model.edit({ script: 'a.py', processes: '2' });
  await model.refreshRuns();
  const view = render(<RecentPart model={model} trans={english} />);
  const group = screen.getByRole('group', { name: 'Launched before, to fill in:' });
  within(group).getByRole('button', { name: '2 processes · --lr 1 · SEED=3 · restarts: 1' });
  await userEvent.tab();
  await userEvent.keyboard('{Enter}');
  expect(model.state.form).toEqual(formOf(earlier));
  view.rerender(<RecentPart model={model} trans={english} />);
  expect(screen.queryByRole('group')).toBeNull();
  model.dispose();
});
