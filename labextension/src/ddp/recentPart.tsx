import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button } from '../components';
import { TestId } from '../testids';
import type { Run } from '../wire';
import type { LaunchModel } from './launchModel';
import { launchText, recentLaunches } from './recents';
import { stateMark, stateText, toMillis } from './runText';

/** Recent launches to fill in again: of the form's script, or of any where there is none yet. */
export function RecentPart(props: {
  model: LaunchModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { form, runs } = model.state;
  const recent = recentLaunches(runs, form);
  const hasScript = form.script.trim() !== '';
  const id = React.useId();
  if (recent.length === 0) {
    return null;
  }
  return (
    <div
      className="gpucamp-Recent"
      role="group"
      aria-labelledby={id}
      data-testid={TestId.ddpRecent}
    >
      <p id={id}>
        {hasScript ? trans.__('Launched before, to fill in:') : trans.__('Recent launches:')}
      </p>
      <ul>
        {recent.map(run => (
          <li key={run.id}>
            <Button kind="quiet" title={run.command} onClick={() => model.fillFrom(run)}>
              {hasScript ? '' : `${run.script} · `}
              {launchText(run, trans)}
            </Button>
            <span className="gpucamp-Muted">{whenText(run, trans)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function whenText(run: Run, trans: TranslationBundle): string {
  const started = toMillis(run.started_at);
  const when = started === null ? '' : new Date(started).toLocaleString();
  return `${stateMark(run.state)} ${stateText(run.state, trans)} ${when}`.trim();
}
