import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ErrorBox } from '../components';
import type { Run } from '../wire';
import type { MetricsModel } from './metricsModel';

/** Which other run of the same script is drawn beside this one. */
export function ComparePart(props: {
  model: MetricsModel;
  run: Run;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, run, trans } = props;
  const { others, compared, compareError } = model.state;
  const id = React.useId();
  return (
    <>
      <div className="gpucamp-Field-inline">
        <label htmlFor={id}>{trans.__('Compare with')}</label>
        <select
          id={id}
          className="jp-mod-styled"
          value={compared?.run.id ?? ''}
          onFocus={() => void model.loadOthers(run.script)}
          onChange={event => void model.compare(event.target.value)}
        >
          <option value="">{trans.__('no other run')}</option>
          {others.map(other => (
            <option key={other.id} value={other.id}>
              {other.id}
            </option>
          ))}
        </select>
        {compared && (
          <span className="gpucamp-Muted">
            {trans.__('Dashed: %1', [compared.run.id, ...(compared.run.arguments ?? [])].join(' '))}
          </span>
        )}
      </div>
      {compareError !== null && <ErrorBox error={compareError} trans={trans} />}
    </>
  );
}
