import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { TestId } from '../testids';
import type { Hang, HungRank } from '../wire';
import { toMillis } from './runText';

/** That a run hangs, or did when it ended: why, what helps, and where each rank stands. */
export function HangBox(props: {
  hang: Hang;
  alive: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { hang, alive, trans } = props;
  const millis = toMillis(hang.since);
  const since = millis === null ? '?' : new Date(millis).toLocaleTimeString();
  return (
    <div
      className="gpucamp-Diagnosis gpucamp-mod-hang"
      data-testid={TestId.ddpHang}
      role={alive ? 'alert' : undefined}
    >
      <p>
        <b>
          {alive
            ? trans.__('This run hangs: nothing has moved since %1', since)
            : trans.__('Nothing had moved since %1 when this run ended', since)}
        </b>
        {hang.rank !== null && (
          <>
            {' '}
            <span className="gpucamp-Badge">{trans.__('rank %1', hang.rank)}</span>
          </>
        )}
      </p>
      <p>
        <b>{trans.__('Cause:')}</b> {hang.cause}
      </p>
      <p>
        <b>{trans.__('Fix:')}</b> {hang.fix}
      </p>
      <details>
        <summary>{trans.__('Where each rank stands')}</summary>
        <ul>
          {hang.ranks.map(rank => (
            <Rank key={rank.rank} rank={rank} trans={trans} />
          ))}
        </ul>
      </details>
    </div>
  );
}

function Rank(props: { rank: HungRank; trans: TranslationBundle }): React.ReactElement {
  const { rank, trans } = props;
  return (
    <li>
      <b>{trans.__('rank %1', rank.rank)}</b> {rank.doing}
      {rank.where !== '' && (
        <>
          {' '}
          <code>{rank.where}</code>
        </>
      )}
      {rank.frames.length > 0 && (
        <details>
          <summary>{trans.__('Stack')}</summary>
          <pre tabIndex={0}>{rank.frames.join('\n')}</pre>
        </details>
      )}
    </li>
  );
}
