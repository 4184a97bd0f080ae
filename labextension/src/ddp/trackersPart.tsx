import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { TestId } from '../testids';
import type { PlannedTracker, TrackerName, TrackerState } from '../wire';

const TITLES: Record<TrackerName, string> = {
  tensorboard: 'TensorBoard',
  wandb: 'Weights & Biases'
};

/** Where rank 0's numbers would go. */
export function PlannedTrackers(props: {
  trackers: PlannedTracker[];
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { trackers, trans } = props;
  if (trackers.length === 0) {
    return null;
  }
  const told = trackers.map(
    ({ name, where, offline }) =>
      `${TITLES[name]} (${where}${offline ? `, ${trans.__('offline')}` : ''})`
  );
  return (
    <p className="gpucamp-Muted" data-testid={TestId.ddpPlannedTrackers}>
      {trans.__('The numbers of rank 0 are logged to %1, too.', told.join(', '))}
    </p>
  );
}

/** What became of the trackers of a run. */
export function TrackersPart(props: {
  trackers: TrackerState[];
  over: boolean;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { trackers, over, trans } = props;
  if (trackers.length === 0) {
    return null;
  }
  return (
    <ul className="gpucamp-Trackers" data-testid={TestId.ddpTrackerStates}>
      {trackers.map(tracker => (
        <li key={tracker.name}>
          <b>{TITLES[tracker.name]}</b> <Where tracker={tracker} over={over} trans={trans} />
        </li>
      ))}
    </ul>
  );
}

function Where(props: {
  tracker: TrackerState;
  over: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { tracker, over, trans } = props;
  const { name, state, where, reason } = tracker;
  switch (state) {
    case 'waiting':
      return (
        <span className="gpucamp-Muted">
          {over ? trans.__('no numbers were printed') : trans.__('waits for the first number')}
        </span>
      );
    case 'missing':
      return (
        <span>
          {trans.__('is not installed: in a terminal,')} <code>{`pip install ${name}`}</code>
        </span>
      );
    case 'failed':
      return <span>{`✗ ${reason}`}</span>;
    case 'open':
    case 'closed':
      return /^https?:\/\//.test(where) ? (
        <a href={where} target="_blank" rel="noopener noreferrer">
          {where}
        </a>
      ) : (
        <code>{where}</code>
      );
  }
}
