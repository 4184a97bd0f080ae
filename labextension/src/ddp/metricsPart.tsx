import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ErrorBox } from '../components';
import { TestId } from '../testids';
import type { MetricSeries, Run } from '../wire';
import { frameOf, HEIGHT, pathOf, shortNumber, WIDTH } from './chart';
import type { MetricsModel } from './metricsModel';

/** The numbers that a run prints, one chart for each name; another run's can be drawn beside them. */
export function MetricsPart(props: {
  model: MetricsModel;
  run: Run;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, run, trans } = props;
  const { series, error, compared } = model.state;
  if (series.length === 0 && error === null) {
    return null;
  }
  return (
    <details className="gpucamp-Metrics" data-testid={TestId.ddpMetrics} open>
      <summary>{trans.__('Metrics')}</summary>
      {error !== null && (
        <ErrorBox error={error} trans={trans} retry={() => model.runChanged(run)} />
      )}
      <div className="gpucamp-Metrics-charts">
        {series.map(one => (
          <Chart
            key={one.name}
            series={one}
            other={compared?.series.find(({ name }) => name === one.name) ?? null}
            trans={trans}
          />
        ))}
      </div>
    </details>
  );
}

function Chart(props: {
  series: MetricSeries;
  other: MetricSeries | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { series, other, trans } = props;
  const frame = frameOf(other ? [series, other] : [series]);
  const last = shortNumber(series.last);
  const range =
    series.least === null || series.most === null
      ? ''
      : trans.__('%1 to %2', shortNumber(series.least), shortNumber(series.most));
  return (
    <figure className="gpucamp-Chart">
      <figcaption>
        <b>{series.name}</b> {last}
        {other && <span className="gpucamp-Muted">{` / ${shortNumber(other.last)}`}</span>}
        <span className="gpucamp-Muted gpucamp-Chart-range">{range}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={trans.__(
          '%1: %2 values, the last %3; %4',
          series.name,
          series.count,
          last,
          range
        )}
      >
        {frame && other && <path className="gpucamp-mod-other" d={pathOf(other, frame)} />}
        {frame && <path d={pathOf(series, frame)} />}
      </svg>
    </figure>
  );
}
