import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import { Panel } from '@lumino/widgets';
import * as React from 'react';

import { Button, Command, CopyButton, ErrorBox } from '../components';
import { evidenceLines } from '../doctor/examination';
import { TestId } from '../testids';
import type { Diagnosis, Run } from '../wire';
import { HangBox } from './hangPart';
import { LogBar } from './logBar';
import { LogView } from './logView';
import type { MetricsModel } from './metricsModel';
import { NotifyOfRun, type Notify } from './notifyPart';
import { RunModel } from './runModel';
import { StateBadge } from './runList';
import { RunNumbers } from './runNumbers';
import { durationText, elapsedSeconds, isAlive, namesDoctor, seedText, seedTitle } from './runText';
import type { UsageModel } from './usageModel';

/** One run: its state, its log, and how it ended. Closing it does not end the run. */
export class RunPanel extends Panel {
  constructor(
    readonly model: RunModel,
    again: (run: Run) => void,
    examine: () => void,
    trans: TranslationBundle,
    private readonly metrics: MetricsModel,
    private readonly usage: UsageModel,
    notify: Notify
  ) {
    super();
    this.addClass('gpucamp-RunPanel');
    this.node.tabIndex = -1;
    this._log = new LogView(
      model.log,
      trans.__('Log of the run'),
      trans.__('Nothing was printed yet.'),
      count =>
        trans.__('%1 earlier lines are not shown here; the whole log is kept in a file.', count)
    );
    this.addWidget(new RunHeader(model, this._log, again, examine, trans, notify));
    this.addWidget(new RunNumbers(model, metrics, usage, trans));
    this.addWidget(this._log);
    model.logChanged.connect(() => this._log.changed());
  }

  override dispose(): void {
    if (!this.isDisposed) {
      super.dispose();
      this.model.dispose();
      this.metrics.dispose();
      this.usage.dispose();
    }
  }

  private readonly _log: LogView;
}

class RunHeader extends VDomRenderer<RunModel> {
  constructor(
    model: RunModel,
    private readonly log: LogView,
    private readonly again: (run: Run) => void,
    private readonly examine: () => void,
    private readonly trans: TranslationBundle,
    private readonly notify: Notify
  ) {
    super(model);
    this.addClass('gpucamp-RunPanel-header');
  }

  protected override render(): React.ReactElement {
    return (
      <Header
        model={this.model}
        log={this.log}
        again={this.again}
        examine={this.examine}
        trans={this.trans}
        notify={this.notify}
      />
    );
  }
}

function Header(props: {
  model: RunModel;
  log: LogView;
  again: (run: Run) => void;
  examine: () => void;
  trans: TranslationBundle;
  notify: Notify;
}): React.ReactElement {
  const { model, log, trans } = props;
  const { run, error, stopError, stopping, connected } = model.state;
  if (!run) {
    return error !== null ? (
      <ErrorBox error={error} trans={trans} retry={() => void model.follow()} />
    ) : (
      <p role="status">{trans.__('Loading…')}</p>
    );
  }
  const alive = isAlive(run.state);
  return (
    <>
      <div className="gpucamp-RunPanel-line">
        <span
          data-testid={TestId.ddpState}
          data-state={run.state}
          role="status"
          aria-live="polite"
          className="gpucamp-RunPanel-state"
        >
          <StateBadge state={run.state} trans={trans} />
        </span>
        <span className="gpucamp-RunPanel-script">
          {trans._n('%2, %1 process', '%2, %1 processes', run.processes, run.script)}
        </span>
        <Elapsed run={run} />
        <span className="gpucamp-Muted" title={seedTitle(run, trans)}>
          {trans.__('seed: %1', seedText(run, trans))}
        </span>
        {alive && !connected && <span className="gpucamp-Muted">{trans.__('Connecting…')}</span>}
        <span className="gpucamp-Actions gpucamp-RunPanel-actions">
          <Button kind="quiet" onClick={() => log.goToEnd()}>
            {trans.__('Follow')}
          </Button>
          <CopyButton label={trans.__('Copy log')} text={() => log.text()} trans={trans} />
          {alive ? (
            <Button
              kind="warn"
              disabled={stopping}
              onClick={() => void confirmStop(model, trans)}
              testId={TestId.ddpStop}
            >
              {stopping ? trans.__('Stopping…') : trans.__('Stop')}
            </Button>
          ) : (
            <Button kind="accept" onClick={() => props.again(run)}>
              {trans.__('Run again…')}
            </Button>
          )}
        </span>
      </div>
      <NotifyOfRun run={run} notify={props.notify} trans={trans} />
      {error !== null && <ErrorBox error={error} trans={trans} retry={() => void model.follow()} />}
      {stopError !== null && (
        <ErrorBox error={stopError} trans={trans} retry={() => void model.stop()} />
      )}
      {run.hang && <HangBox hang={run.hang} alive={alive} trans={trans} />}
      {run.diagnosis && (
        <DiagnosisBox diagnosis={run.diagnosis} examine={props.examine} trans={trans} />
      )}
      {!run.diagnosis && <Ending run={run} trans={trans} />}
      <Remarks run={run} trans={trans} />
      <details>
        <summary>{trans.__('Command')}</summary>
        <Command command={run.command} trans={trans} />
      </details>
      <LogBar run={run} log={log} fileUrl={model.logFile} trans={trans} />
    </>
  );
}

/** Counts while the run goes on. */
function Elapsed(props: { run: Run }): React.ReactElement {
  const { run } = props;
  const alive = isAlive(run.state);
  const [now, setNow] = React.useState(() => Date.now());
  React.useEffect(() => {
    if (!alive) {
      return undefined;
    }
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, [alive]);
  const seconds = elapsedSeconds(run, now);
  return <span className="gpucamp-Muted">{seconds === null ? '' : durationText(seconds)}</span>;
}

/** What went wrong; where the doctor is named, the way to it, too. */
export function DiagnosisBox(props: {
  diagnosis: Diagnosis;
  examine: () => void;
  trans: TranslationBundle;
}): React.ReactElement {
  const { diagnosis, trans } = props;
  const evidence = evidenceLines(diagnosis.evidence);
  return (
    <div className="gpucamp-Diagnosis" data-testid={TestId.ddpDiagnosis} role="alert">
      <p>
        <b>{trans.__('Cause:')}</b> {diagnosis.cause}
        {diagnosis.rank !== null && (
          <>
            {' '}
            <span className="gpucamp-Badge">{trans.__('rank %1', diagnosis.rank)}</span>
          </>
        )}
      </p>
      <p>
        <b>{trans.__('Fix:')}</b> {diagnosis.fix}
      </p>
      {namesDoctor(diagnosis, trans) && (
        <div className="gpucamp-Actions">
          <Button kind="accept" onClick={props.examine}>
            {trans.__('GPU doctor')}
          </Button>
        </div>
      )}
      {evidence.length > 0 && (
        <details>
          <summary>{trans.__('What was seen')}</summary>
          <pre tabIndex={0}>{evidence.join('\n')}</pre>
        </details>
      )}
    </div>
  );
}

/** What PyTorch and its companions warned about in a run that ended well. */
export function Remarks(props: { run: Run; trans: TranslationBundle }): React.ReactElement | null {
  const remarks = props.run.remarks ?? [];
  if (remarks.length === 0) {
    return null;
  }
  return (
    <ul
      className="gpucamp-Warnings"
      aria-label={props.trans.__('Warnings')}
      data-testid={TestId.ddpRemarks}
    >
      {remarks.map(remark => (
        <li key={remark.code}>
          <span className="gpucamp-Mark gpucamp-mod-degraded" aria-hidden="true">
            !
          </span>
          <span>{remark.message}</span>
        </li>
      ))}
    </ul>
  );
}

function Ending(props: { run: Run; trans: TranslationBundle }): React.ReactElement | null {
  const { run, trans } = props;
  switch (run.state) {
    case 'failed':
      return (
        <p>
          {trans.__(
            'The run ended with exit code %1, and no known cause was found. The log has the details.',
            run.exit_code ?? '?'
          )}
        </p>
      );
    case 'lost':
      return (
        <p>{trans.__('The server ended while this run went on, so nobody saw how it ended.')}</p>
      );
    default:
      return null;
  }
}

async function confirmStop(model: RunModel, trans: TranslationBundle): Promise<void> {
  const answer = await showDialog({
    title: trans.__('Stop this run?'),
    body: trans.__('All its processes are ended. What they have not saved is lost.'),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep running') }),
      Dialog.warnButton({ label: trans.__('Stop') })
    ],
    defaultButton: 0
  });
  if (answer.button.accept) {
    await model.stop();
  }
}
