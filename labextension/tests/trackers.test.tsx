// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen } from '@testing-library/react';
import * as React from 'react';
import { afterEach, describe, expect, test } from 'vitest';

import { EMPTY_FORM, formOf, toRequest } from '../src/ddp/form';
import { MetricsModel } from '../src/ddp/metricsModel';
import { PlannedTrackers, TrackersPart } from '../src/ddp/trackersPart';
import { TestId } from '../src/testids';
import type { TrackerState } from '../src/wire';
import { english, fakeApi, runOf, until } from './helpers';

afterEach(cleanup);

const state = (more: Partial<TrackerState>): TrackerState => ({
  name: 'wandb',
  state: 'open',
  where: 'train',
  reason: '',
  ...more
});

describe('what became of a tracker', () => {
  const text = (more: Partial<TrackerState>, over = false): string => {
    render(<TrackersPart trackers={[state(more)]} over={over} trans={english} />);
    return screen.getByTestId(TestId.ddpTrackerStates).textContent;
  };

  test('of Weights & Biases is a link to its page', () => {
    text({ where: 'https://wandb.example/run' });
    const link = screen.getByRole('link');
    expect(link.getAttribute('href')).toBe('https://wandb.example/run');
    expect(link.getAttribute('rel')).toBe('noopener noreferrer');
  });

  test.each(['wandb/offline-run-1', 'javascript:alert(1)', 'runs/<b>x</b>'])(
    'that is no address of the web is text: %s',
    where => {
      expect(text({ where })).toContain(where);
      expect(screen.queryByRole('link')).toBeNull();
    }
  );

  test.each([
    [{ state: 'waiting' }, false, 'waits for the first number'],
    [{ state: 'waiting' }, true, 'no numbers were printed'],
    [{ state: 'missing' }, true, 'pip install wandb'],
    [{ state: 'failed', reason: 'api_key not configured' }, true, '✗ api_key not configured']
  ] as const)('%j is told', (more, over, told) => {
    expect(text(more, over)).toContain(told);
  });

  test('is nothing where there is none', () => {
    render(<TrackersPart trackers={[]} over={false} trans={english} />);
    expect(screen.queryByTestId(TestId.ddpTrackerStates)).toBeNull();
  });
});

test('the form says before the start where the numbers go', () => {
  render(
    <PlannedTrackers
      trackers={[
        { name: 'tensorboard', where: 'runs', offline: false },
        { name: 'wandb', where: 'train', offline: true }
      ]}
      trans={english}
    />
  );
  expect(screen.getByTestId(TestId.ddpPlannedTrackers).textContent).toBe(
    'The numbers of rank 0 are logged to TensorBoard (runs), Weights & Biases (train, offline), too.'
  );
});

describe('the choice of trackers', () => {
  const form = { ...EMPTY_FORM, script: 'a.py', processes: '2' };

  test.each([
    ['', undefined],
    ['none', []],
    ['wandb', ['wandb']],
    ['tensorboard,wandb', ['tensorboard', 'wandb']]
  ])('%j is in the request, and comes back from the record', (trackers, asked) => {
    const made = toRequest({ ...form, trackers }, null);
    expect('request' in made && made.request.trackers).toEqual(asked);
    const run = runOf({ id: 'x', script: 'a.py', trackers: (asked ?? null) as never });
    expect(formOf(run).trackers).toBe(trackers);
  });
});

test('what becomes of them is asked for until they have told, also after the end', async () => {
  const answers: TrackerState['state'][] = ['open', 'open', 'closed'];
  let asked = 0;
  const model = new MetricsModel({
    api: fakeApi({
      ddpMetrics: () => {
        const told = answers[Math.min(asked++, answers.length - 1)] ?? 'closed';
        return Promise.resolve({ complete: true, series: [], trackers: [state({ state: told })] });
      }
    }),
    id: 'mine',
    every: 1
  });
  model.runChanged(runOf({ id: 'mine', state: 'succeeded' }));
  await until(() => model.state.trackers[0]?.state === 'closed');
  await new Promise(resolve => setTimeout(resolve, 20));
  expect(asked).toBe(3);
  model.dispose();
});
