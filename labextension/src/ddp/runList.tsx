import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { Run, RunState } from '../wire';
import {
  durationText,
  elapsedSeconds,
  isAlive,
  seedText,
  seedTitle,
  stateMark,
  stateText,
  toMillis
} from './runText';

/** A run's state in a mark and a word. */
export function StateBadge(props: {
  state: RunState;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <span className="gpucamp-State">
      <span className={`gpucamp-Mark gpucamp-mod-${props.state}`} aria-hidden="true">
        {stateMark(props.state)}
      </span>
      {stateText(props.state, props.trans)}
    </span>
  );
}

/** The runs so far, newest first. */
export function RunList(props: {
  runs: Run[];
  error: unknown;
  trans: TranslationBundle;
  open: (run: Run) => void;
  again: (run: Run) => void;
  retry: () => void;
}): React.ReactElement {
  const { runs, trans } = props;
  return (
    <section className="gpucamp-Runs" data-testid={TestId.ddpRuns} aria-label={trans.__('Runs')}>
      <h2>{trans.__('Runs')}</h2>
      {props.error !== null && <ErrorBox error={props.error} trans={trans} retry={props.retry} />}
      {runs.length === 0 && props.error === null && (
        <p className="gpucamp-Muted">{trans.__('None yet.')}</p>
      )}
      {runs.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">{trans.__('State')}</th>
              <th scope="col">{trans.__('Script')}</th>
              <th scope="col">{trans.__('Processes')}</th>
              <th scope="col">{trans.__('Started')}</th>
              <th scope="col">{trans.__('Time')}</th>
              <th scope="col">{trans.__('Exit code')}</th>
              <th scope="col">{trans.__('Seed')}</th>
              <th scope="col">
                <span className="gpucamp-Hidden">{trans.__('Actions')}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {runs.map(run => (
              <Row key={run.id} run={run} {...props} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Row(props: {
  run: Run;
  trans: TranslationBundle;
  open: (run: Run) => void;
  again: (run: Run) => void;
}): React.ReactElement {
  const { run, trans } = props;
  const started = toMillis(run.started_at);
  const seconds = elapsedSeconds(run, Date.now());
  return (
    <tr>
      <td>
        <StateBadge state={run.state} trans={trans} />
        {run.hang && isAlive(run.state) && (
          <>
            {' '}
            <span className="gpucamp-Badge">{trans.__('Hangs')}</span>
          </>
        )}
      </td>
      <td className="gpucamp-Runs-script" title={run.command}>
        {run.script}
        {(run.arguments ?? []).length > 0 && (
          <span className="gpucamp-Muted"> {(run.arguments ?? []).join(' ')}</span>
        )}
      </td>
      <td>{run.processes}</td>
      <td>{started === null ? '' : new Date(started).toLocaleString()}</td>
      <td>{seconds === null ? '' : durationText(seconds)}</td>
      <td>{run.exit_code}</td>
      <td title={seedTitle(run, trans)}>
        {run.seed ? run.seed.value : <span className="gpucamp-Muted">{seedText(run, trans)}</span>}
      </td>
      <td className="gpucamp-Actions">
        <Button
          kind="quiet"
          onClick={() => props.open(run)}
          aria-label={trans.__('Show the log of %1', run.script)}
        >
          {trans.__('Log')}
        </Button>
        <Button
          kind="quiet"
          onClick={() => props.again(run)}
          aria-label={trans.__('Put %1 into the form again', run.script)}
        >
          {trans.__('Use again')}
        </Button>
      </td>
    </tr>
  );
}
