import type { KernelSpec } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, Command, CopyButton, ErrorBox } from '../components';
import { findingTestId, TestId } from '../testids';
import type { Finding, Report } from '../wire';
import {
  ageText,
  asJson,
  asText,
  evidenceLines,
  NO_EXAMINATION,
  news,
  rows,
  safeLink,
  skippedChecks,
  severityMark,
  severityText,
  verdictOf,
  verdictText,
  whoText
} from './examination';
import type { DoctorModel } from './model';

/** How many pieces of news are kept for a reader who is behind. */
const LONGEST_NEWS = 20;

/**
 * The doctor's panel: verdict, progress, findings.
 *
 * Guarantees: an element that has the focus, and a finding that is unfolded, stay while results come; what changes is
 * announced once, and never the whole list again.
 */
export class DoctorPanel extends VDomRenderer<DoctorModel> {
  constructor(
    model: DoctorModel,
    private readonly specs: KernelSpec.IManager,
    private readonly trans: TranslationBundle
  ) {
    super(model);
    this.addClass('gpucamp-Panel');
    this.node.dataset.testid = TestId.doctorPanel;
    this.node.tabIndex = -1;
    specs.specsChanged.connect(this._onSpecsChanged, this);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.specs.specsChanged.disconnect(this._onSpecsChanged, this);
    this.model.dispose();
    super.dispose();
  }

  protected override render(): React.ReactElement {
    return <Doctor model={this.model} specs={this.specs.specs} trans={this.trans} />;
  }

  private _onSpecsChanged(): void {
    this.update();
  }
}

function Doctor(props: {
  model: DoctorModel;
  specs: KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, trans } = props;
  const state = model.state;
  const running = state.phase === 'running';
  const verdict = verdictOf(state.findings);
  const passed = state.report?.checks_passed ?? [];
  const tone = state.phase === 'finished' || state.findings.length ? verdict : 'waiting';
  const shown = rows(state);
  return (
    <div className="gpucamp-Panel-body">
      <News model={model} trans={trans} />
      <div className="gpucamp-Doctor-header">
        <span className={`gpucamp-Mark gpucamp-Mark-large gpucamp-mod-${tone}`} aria-hidden="true">
          {tone === 'waiting'
            ? '…'
            : { healthy: '✓', advice: '✓', degraded: '!', blocked: '✗' }[tone]}
        </span>
        <div className="gpucamp-Doctor-headline">
          <h1
            data-testid={TestId.doctorVerdict}
            data-phase={state.phase}
            data-verdict={state.phase === 'finished' ? (state.report?.verdict ?? verdict) : ''}
          >
            {verdictText(state, trans)}
          </h1>
          <Progress model={model} trans={trans} />
        </div>
        <div className="gpucamp-Actions">
          <KernelChoice model={model} specs={props.specs} trans={trans} />
          {/* One button for both, so that the focus stays on it. */}
          <Button
            kind={running ? 'plain' : 'accept'}
            onClick={() => (running ? model.cancel() : void model.examine())}
            testId={TestId.doctorExamine}
          >
            {running
              ? trans.__('Stop')
              : state.phase === 'idle' || model.kernel !== state.kernel
                ? trans.__('Examine')
                : trans.__('Examine again')}
          </Button>
        </div>
      </div>
      {state.phase === 'failed' && (
        <ErrorBox error={state.error} trans={trans} retry={() => void model.examine()} />
      )}
      {state.report?.not_kept && (
        <p className="gpucamp-Attention" role="alert">
          {trans.__(
            'This report could not be kept: %1. Copy it if you want to have it later.',
            state.report.not_kept.replace(/\.$/, '')
          )}
        </p>
      )}
      {shown.length > 0 && (
        <section aria-labelledby="gpucamp-findings">
          <h2 id="gpucamp-findings" className="gpucamp-Hidden">
            {trans.__('Findings')}
          </h2>
          {/* The role says again what a list without bullets is not for every browser. */}
          <ul className="gpucamp-Findings" role="list">
            {shown.map(({ finding, old }) => (
              <FindingRow key={finding.code} finding={finding} old={old} trans={trans} />
            ))}
          </ul>
        </section>
      )}
      {state.phase === 'finished' && (
        <div className="gpucamp-Doctor-footer">
          <CheckNames
            mark="✓"
            label={trans.__('Passed checks: %1', passed.length)}
            names={passed}
          />
          <CheckNames
            mark="–"
            label={trans.__('Skipped checks: %1', state.report?.checks_skipped.length ?? 0)}
            names={skippedChecks(state.report)}
          />
        </div>
      )}
      {state.phase !== 'idle' && !running && (
        <div className="gpucamp-Actions">
          <CopyButton
            label={trans.__('Copy as text')}
            text={() => asText(state, trans)}
            trans={trans}
          />
          <CopyButton label={trans.__('Copy as JSON')} text={() => asJson(state)} trans={trans} />
        </div>
      )}
    </div>
  );
}

/** What changed, for those who do not see it: read once and politely, piece by piece. */
function News(props: { model: DoctorModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  const [told, setTold] = React.useState<{ id: number; text: string }[]>([]);
  React.useEffect(() => {
    let last = NO_EXAMINATION;
    let id = 0;
    const follow = (): void => {
      const text = news(last, model.state, trans);
      last = model.state;
      if (text !== null) {
        const piece = { id: ++id, text };
        setTold(before => [...before.slice(1 - LONGEST_NEWS), piece]);
      }
    };
    model.stateChanged.connect(follow);
    follow();
    return () => void model.stateChanged.disconnect(follow);
  }, [model, trans]);
  return (
    <div
      className="gpucamp-Hidden"
      role="log"
      aria-live="polite"
      aria-label={trans.__('News of the examination')}
    >
      {told.map(one => (
        <p key={one.id}>{one.text}</p>
      ))}
    </div>
  );
}

function Progress(props: { model: DoctorModel; trans: TranslationBundle }): React.ReactElement {
  const { trans } = props;
  const { phase, checks, done, report, before, kernel } = props.model.state;
  const age = useAge(report ?? before, trans);
  if (phase === 'running') {
    return (
      <>
        <div className="gpucamp-Progress">
          <progress
            max={checks || 1}
            value={checks ? done : undefined}
            aria-label={trans.__('Progress of the examination')}
          />
          <span>{checks ? trans.__('%1 of %2 checks', done, checks) : trans.__('Starting…')}</span>
        </div>
        {before && (
          <p className="gpucamp-Muted">
            {trans.__('Until it has ended you also see the last report, from %1.', age)}
          </p>
        )}
      </>
    );
  }
  return (
    <p className="gpucamp-Muted">
      {phase === 'finished' && report
        ? trans.__('Kernel %1, examined %2; it took %3 s', kernel, age, report.seconds.toFixed(1))
        : trans.__('Kernel: %1', kernel)}
      {before && ` · ${trans.__('You also see the last report, from %1.', age)}`}
    </p>
  );
}

/** How old a report is; it grows while one looks. */
function useAge(report: Report | null, trans: TranslationBundle): string {
  const [now, setNow] = React.useState(() => Date.now());
  React.useEffect(() => {
    setNow(Date.now());
    const timer = window.setInterval(() => setNow(Date.now()), 30_000);
    return () => window.clearInterval(timer);
  }, [report]);
  return report ? ageText(report, now, trans) : '';
}

/** Only chooses: with the keyboard one passes by other kernels on the way. */
function KernelChoice(props: {
  model: DoctorModel;
  specs: KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, trans } = props;
  const names = Object.keys(props.specs?.kernelspecs ?? {});
  if (!names.includes(model.kernel)) {
    names.unshift(model.kernel);
  }
  return (
    <label className="gpucamp-Field-inline">
      <span>{trans.__('Kernel')}</span>
      <select
        className="jp-mod-styled"
        data-testid={TestId.doctorKernel}
        value={model.kernel}
        onChange={event => model.choose(event.target.value)}
      >
        {names.map(name => (
          <option key={name} value={name}>
            {props.specs?.kernelspecs[name]?.display_name ?? name}
          </option>
        ))}
      </select>
    </label>
  );
}

function FindingRow(props: {
  finding: Finding;
  old: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { finding, old, trans } = props;
  const evidence = evidenceLines(finding.evidence);
  const docs = safeLink(finding.docs_url);
  return (
    <li
      className={`gpucamp-Finding ${old ? 'gpucamp-mod-old' : ''}`}
      data-testid={findingTestId(finding.code)}
      data-severity={finding.severity}
    >
      <details onKeyDown={foldAtEscape}>
        <summary>
          <span className={`gpucamp-Mark gpucamp-mod-${finding.severity}`} aria-hidden="true">
            {severityMark(finding.severity)}
          </span>
          <span className="gpucamp-Finding-text">
            <h3 className="gpucamp-Finding-title">
              <span className={`gpucamp-Severity gpucamp-mod-${finding.severity}`}>
                {severityText(finding.severity, trans)}
              </span>{' '}
              {finding.title}
              {old && (
                <>
                  {' '}
                  <span className="gpucamp-Badge">{trans.__('from the last report')}</span>
                </>
              )}
            </h3>
            <span className="gpucamp-Finding-fix">
              <b>{trans.__('Fix:')}</b> {finding.fix}{' '}
              <span className="gpucamp-Badge">{whoText(finding, trans)}</span>
            </span>
          </span>
        </summary>
        <div className="gpucamp-Finding-details">
          {finding.command && <Command command={finding.command} trans={trans} />}
          {evidence.length > 0 && (
            <>
              <h4>{trans.__('What was seen')}</h4>
              <pre tabIndex={0} aria-label={trans.__('What was seen')}>
                {evidence.join('\n')}
              </pre>
            </>
          )}
          <p className="gpucamp-Muted">
            {docs ? (
              <a href={docs} target="_blank" rel="noopener noreferrer">
                {trans.__('What %1 means', finding.code)}
              </a>
            ) : (
              finding.code
            )}
          </p>
        </div>
      </details>
    </li>
  );
}

/** The way out of the details by keyboard: it folds them and leads back to their line. */
function foldAtEscape(event: React.KeyboardEvent<HTMLDetailsElement>): void {
  const details = event.currentTarget;
  if (event.key === 'Escape' && details.open) {
    event.stopPropagation();
    details.open = false;
    details.querySelector('summary')?.focus();
  }
}

function CheckNames(props: {
  mark: string;
  label: string;
  names: string[];
}): React.ReactElement | null {
  if (props.names.length === 0) {
    return null;
  }
  return (
    <details>
      <summary>
        <span aria-hidden="true">{props.mark}</span> {props.label}
      </summary>
      <p className="gpucamp-Muted">{props.names.join(' · ')}</p>
    </details>
  );
}
