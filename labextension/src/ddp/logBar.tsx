import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { TestId } from '../testids';
import type { Run } from '../wire';
import type { LogFilter, LogView } from './logView';

/** What is shown of a run's log: all ranks or one, lines with some text; and the whole of it as a file. */
export function LogBar(props: {
  run: Run;
  log: Pick<LogView, 'setFilter'>;
  fileUrl: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const { run, log, trans } = props;
  const [filter, setFilter] = React.useState<LogFilter>({ rank: null, text: '' });
  const [shown, setShown] = React.useState<number | null>(null);
  const id = React.useId();
  const hidden = new Set(run.hidden_ranks ?? []);
  const choose = (change: Partial<LogFilter>): void => {
    const next = { ...filter, ...change };
    setFilter(next);
    const count = log.setFilter(next);
    setShown(next.rank === null && next.text === '' ? null : count);
  };
  return (
    <div className="gpucamp-LogBar" role="search" aria-label={trans.__('Log of the run')}>
      <label htmlFor={`${id}-rank`}>{trans.__('Rank')}</label>
      <select
        id={`${id}-rank`}
        className="jp-mod-styled"
        value={filter.rank ?? ''}
        data-testid={TestId.ddpLogRank}
        onChange={event =>
          choose({ rank: event.target.value === '' ? null : Number(event.target.value) })
        }
      >
        <option value="">{trans.__('all')}</option>
        {[...Array(run.processes).keys()]
          .filter(rank => !hidden.has(rank))
          .map(rank => (
            <option key={rank} value={rank}>
              {rank}
            </option>
          ))}
      </select>
      <input
        type="search"
        className="jp-mod-styled"
        value={filter.text}
        placeholder={trans.__('Lines with…')}
        aria-label={trans.__('Lines with…')}
        data-testid={TestId.ddpLogSearch}
        onChange={event => choose({ text: event.target.value })}
      />
      <span role="status" className="gpucamp-Muted">
        {shown === null ? '' : trans._n('%1 line', '%1 lines', shown)}
      </span>
      <a href={props.fileUrl} download={`${run.id}.log`} className="gpucamp-LogBar-file">
        {trans.__('Download the whole log')}
      </a>
    </div>
  );
}
