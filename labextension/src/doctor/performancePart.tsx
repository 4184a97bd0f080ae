import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, CopyButton, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { Finding } from '../wire';
import {
  amountText,
  asJson,
  asText,
  byPlace,
  type Figure,
  type Measurement,
  outcomeText,
  shareOf,
  skippedText
} from './performance';
import type { PerformanceModel } from './performanceModel';

/** Below this, in percent of what is expected, the server has a finding, and the bar another colour. */
const TOO_SLOW = 60;

/**
 * The part of the doctor's panel that measures: a button, how far it is, and a bar for each figure.
 *
 * Guarantees: nothing is measured before somebody asks; one button starts and stops, so that the focus stays on it;
 * a bar says nothing that is not also in words beside it; begin and end are announced, not each figure.
 */
export function Performance(props: {
  model: PerformanceModel;
  /** The kernel to measure. */
  kernel: string;
  /** Draws a finding as the panel does. */
  row: (finding: Finding) => React.ReactElement;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, kernel, row, trans } = props;
  const state = useMeasurement(model);
  const running = state.phase === 'running';
  React.useEffect(() => void model.recall(kernel), [model, kernel]);
  return (
    <section
      className="gpucamp-Performance"
      aria-labelledby="gpucamp-performance"
      aria-busy={running}
      data-testid={TestId.performance}
      data-phase={state.phase}
    >
      <div className="gpucamp-Performance-header">
        <div>
          <h2 id="gpucamp-performance">{trans.__('Performance')}</h2>
          <p className="gpucamp-Muted" role="status">
            {outcomeText(state, trans)}
            {state.phase === 'finished' &&
              state.kernel !== kernel &&
              ` (${trans.__('Kernel: %1', state.kernel)})`}
          </p>
        </div>
        <Button
          onClick={() => (running ? model.cancel() : void model.measure(kernel))}
          testId={TestId.performanceMeasure}
        >
          {running
            ? trans.__('Stop measuring')
            : state.phase === 'idle'
              ? trans.__('Measure')
              : trans.__('Measure again')}
        </Button>
      </div>
      {state.phase === 'idle' && (
        <p className="gpucamp-Muted">
          {trans.__(
            'Takes some seconds: how fast the GPU computes and copies, and whether two processes can work together.'
          )}
        </p>
      )}
      {running && (
        <div className="gpucamp-Progress">
          <progress
            max={state.steps || 1}
            value={state.steps ? state.done : undefined}
            aria-label={trans.__('Progress of the measurement')}
          />
          <span>{state.step || trans.__('Starting…')}</span>
        </div>
      )}
      {state.phase === 'failed' && (
        <ErrorBox error={state.error} trans={trans} retry={() => void model.measure(kernel)} />
      )}
      {state.findings.length > 0 && (
        <ul className="gpucamp-Findings" role="list" aria-label={trans.__('What is too slow')}>
          {state.findings.map(row)}
        </ul>
      )}
      {byPlace(state.figures).map(([place, figures]) => (
        <Figures key={place} place={place} figures={figures} trans={trans} />
      ))}
      {state.skipped.length > 0 && (
        <ul className="gpucamp-Performance-skipped" role="list" aria-label={trans.__('Skipped')}>
          {state.skipped.map(item => (
            <li key={`${item.name} ${item.device}`} className="gpucamp-Muted">
              {skippedText(item, trans)}
            </li>
          ))}
        </ul>
      )}
      {!running && state.phase !== 'idle' && (
        <div className="gpucamp-Actions">
          <CopyButton
            label={trans.__('Copy figures as text')}
            text={() => asText(state, trans)}
            trans={trans}
          />
          <CopyButton
            label={trans.__('Copy figures as JSON')}
            text={() => asJson(state)}
            trans={trans}
          />
        </div>
      )}
    </section>
  );
}

function useMeasurement(model: PerformanceModel): Measurement {
  return React.useSyncExternalStore(
    React.useCallback(
      changed => {
        model.stateChanged.connect(changed);
        return () => void model.stateChanged.disconnect(changed);
      },
      [model]
    ),
    () => model.state
  );
}

/** The figures of one GPU, or of the server, as a table whose last column is a picture. */
function Figures(props: {
  place: string;
  figures: Figure[];
  trans: TranslationBundle;
}): React.ReactElement {
  const { place, figures, trans } = props;
  return (
    <table className="gpucamp-Performance-figures">
      <caption>{place || trans.__('This server')}</caption>
      <thead className="gpucamp-Hidden">
        <tr>
          <th scope="col">{trans.__('What')}</th>
          <th scope="col">{trans.__('Measured')}</th>
          <th scope="col">{trans.__('Compared with what is expected')}</th>
        </tr>
      </thead>
      <tbody>
        {figures.map(figure => (
          <Row key={figure.name} figure={figure} trans={trans} />
        ))}
      </tbody>
    </table>
  );
}

function Row(props: { figure: Figure; trans: TranslationBundle }): React.ReactElement {
  const { figure, trans } = props;
  const share = shareOf(figure);
  const tone = share !== null && share < TOO_SLOW ? 'degraded' : 'healthy';
  return (
    <tr data-testid={`${TestId.performance}-${figure.name}`}>
      <th scope="row">{figure.title}</th>
      <td className="gpucamp-Performance-value">{amountText(figure.value, figure.unit)}</td>
      <td>
        {share !== null && figure.expected !== null && (
          <>
            {/* What is expected is at four fifths of the bar, so that more can be seen, too. */}
            <span className="gpucamp-Performance-bar" aria-hidden="true">
              <span
                className={`gpucamp-Performance-fill gpucamp-mod-${tone}`}
                style={{ width: `${Math.min(100, share * 0.8)}%` }}
              />
            </span>
            <span className="gpucamp-Performance-share">
              {trans.__('%1 % of %2', share, amountText(figure.expected, figure.unit))}
            </span>
          </>
        )}
      </td>
    </tr>
  );
}
