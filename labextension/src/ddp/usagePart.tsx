import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { ErrorBox } from '../components';
import { TestId } from '../testids';
import type { RankUsage, Run, RunUsage } from '../wire';
import { frameOf, HEIGHT, pathOf, WIDTH } from './chart';
import { rankInk } from './logColours';
import type { UsageModel } from './usageModel';
import {
  chartsOf,
  rankStateText,
  summaryText,
  titleOf,
  valueText,
  type UsageChart
} from './usageText';

/** With more lines than this their last values would fill the chart. */
const NAMED = 8;

/** What the ranks of a run do, and what they and the GPUs use over time. */
export function UsagePart(props: {
  model: UsageModel;
  run: Run;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, run, trans } = props;
  const { usage, error, other } = model.state;
  if (error === null && !usage?.ranks.length) {
    return null;
  }
  return (
    <details className="gpucamp-Usage" data-testid={TestId.ddpUsage}>
      <summary>
        {trans.__('Ranks and GPUs')}{' '}
        {usage && <span className="gpucamp-Muted">{summaryText(usage, trans)}</span>}
      </summary>
      {error !== null && (
        <ErrorBox error={error} trans={trans} retry={() => model.runChanged(run)} />
      )}
      {usage && <Ranks usage={usage} trans={trans} />}
      {usage && (
        <div className="gpucamp-Metrics-charts">
          {chartsOf(usage, other, trans).map(chart => (
            <Chart key={chart.kind} chart={chart} trans={trans} />
          ))}
        </div>
      )}
      {usage && usage.devices.length > 0 && (
        <p className="gpucamp-Muted">
          {trans.__(
            'Utilization and memory of a GPU are those of the whole device, whoever uses it.'
          )}
        </p>
      )}
    </details>
  );
}

function Ranks(props: { usage: RunUsage; trans: TranslationBundle }): React.ReactElement {
  const { usage, trans } = props;
  const onGpu = usage.devices.length > 0;
  return (
    <div className="gpucamp-Usage-ranks">
      <table>
        <thead>
          <tr>
            <th scope="col">{trans.__('Rank')}</th>
            <th scope="col">{trans.__('State')}</th>
            <th scope="col">{trans.__('CPU')}</th>
            <th scope="col">{trans.__('Memory')}</th>
            <th scope="col">{trans.__('at most')}</th>
            {onGpu && <th scope="col">{trans.__('GPU memory')}</th>}
            <th scope="col">PID</th>
          </tr>
        </thead>
        <tbody>
          {usage.ranks.map(rank => (
            <RankRow key={rank.rank} rank={rank} usage={usage} onGpu={onGpu} trans={trans} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function RankRow(props: {
  rank: RankUsage;
  usage: RunUsage;
  onGpu: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { rank, usage, onGpu, trans } = props;
  const ended = rank.state === 'ended';
  const place = usage.devices.findIndex(device => device.uuid === rank.device);
  const onDevice =
    rank.gpu_memory_bytes === null
      ? trans.__('NVML does not tell')
      : `${valueText('gpu_memory', rank.gpu_memory_bytes)} (${trans.__('GPU %1', place)})`;
  return (
    <tr data-state={rank.state}>
      <th scope="row" style={{ color: rankInk(rank.rank) }}>
        {rank.rank}
      </th>
      <td>
        {rankStateText(rank, trans)}
        {rank.starts > 1 && (
          <span className="gpucamp-Muted"> {trans.__('started %1 times', rank.starts)}</span>
        )}
      </td>
      <td>{ended ? '' : valueText('cpu', rank.cpu_percent)}</td>
      <td>{ended ? '' : valueText('memory', rank.memory_bytes)}</td>
      <td>{valueText('memory', rank.memory_peak_bytes)}</td>
      {onGpu && <td className="gpucamp-Muted">{onDevice}</td>}
      <td>{rank.pid}</td>
    </tr>
  );
}

function Chart(props: { chart: UsageChart; trans: TranslationBundle }): React.ReactElement {
  const { kind, lines } = props.chart;
  const { trans } = props;
  const drawn = lines.flatMap(line => (line.other ? [line, line.other] : [line]));
  const range = frameOf(drawn);
  // nothing here is below 0, and how far above it is matters
  const frame = range && { ...range, bottom: 0, top: range.top > 0 ? range.top : 1 };
  const title = titleOf(kind, trans);
  const words = lines.map(line => [line.whose, valueText(kind, line.last)].join(' ').trim());
  return (
    <figure className="gpucamp-Chart">
      <figcaption>
        <b>{title}</b>
        {lines.length <= NAMED &&
          lines.map((line, at) => (
            <span key={line.whose} style={{ color: rankInk(line.ink) }}>
              {words[at]}
            </span>
          ))}
        {frame && (
          <span className="gpucamp-Muted gpucamp-Chart-range">
            {trans.__('%1 to %2', valueText(kind, 0), valueText(kind, frame.top))}
          </span>
        )}
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={trans.__('%1 over time; the last: %2', title, words.join(', '))}
      >
        {frame &&
          lines.map(line => (
            <React.Fragment key={line.whose}>
              {line.other && (
                <path
                  className="gpucamp-mod-other"
                  style={{ stroke: rankInk(line.ink), opacity: 0.6 }}
                  d={pathOf(line.other, frame)}
                />
              )}
              <path style={{ stroke: rankInk(line.ink) }} d={pathOf(line, frame)} />
            </React.Fragment>
          ))}
      </svg>
    </figure>
  );
}
