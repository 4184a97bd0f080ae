import type { KernelSpec } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, Command, CopyButton, ErrorBox } from '../components';
import { findingTestId, TestId } from '../testids';
import type { Finding } from '../wire';
import {
  asJson,
  asText,
  evidenceLines,
  safeLink,
  severityMark,
  severityText,
  verdictOf,
  verdictText,
  whoText
} from './examination';
import type { DoctorModel } from './model';

/** The doctor's panel: verdict, progress, findings. */
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
  const skipped = state.report?.checks_skipped ?? [];
  const tone = state.phase === 'finished' || state.findings.length ? verdict : 'waiting';
  return (
    <div className="gpucamp-Panel-body">
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
            <span role="status">{verdictText(state, trans)}</span>
          </h1>
          <Progress model={model} trans={trans} />
        </div>
        <div className="gpucamp-Actions">
          <KernelChoice model={model} specs={props.specs} trans={trans} disabled={running} />
          {running ? (
            <Button onClick={() => model.cancel()} testId={TestId.doctorExamine}>
              {trans.__('Stop')}
            </Button>
          ) : (
            <Button
              kind="accept"
              onClick={() => void model.examine()}
              testId={TestId.doctorExamine}
            >
              {state.phase === 'idle' ? trans.__('Examine') : trans.__('Examine again')}
            </Button>
          )}
        </div>
      </div>
      {state.phase === 'failed' && (
        <ErrorBox error={state.error} trans={trans} retry={() => void model.examine()} />
      )}
      <ul className="gpucamp-Findings" aria-label={trans.__('Findings')} aria-busy={running}>
        {state.findings.map(finding => (
          <FindingRow key={finding.code} finding={finding} trans={trans} />
        ))}
      </ul>
      {state.phase === 'finished' && (
        <div className="gpucamp-Doctor-footer">
          <CheckNames
            mark="✓"
            label={trans.__('Passed checks: %1', passed.length)}
            names={passed}
          />
          <CheckNames
            mark="–"
            label={trans.__('Skipped checks: %1', skipped.length)}
            names={skipped}
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

function Progress(props: { model: DoctorModel; trans: TranslationBundle }): React.ReactElement {
  const { trans } = props;
  const { phase, checks, done, report, kernel } = props.model.state;
  if (phase === 'running') {
    return (
      <div className="gpucamp-Progress">
        <progress
          max={checks || 1}
          value={checks ? done : undefined}
          aria-label={trans.__('Progress of the examination')}
        />
        <span>{checks ? trans.__('%1 of %2 checks', done, checks) : trans.__('Starting…')}</span>
      </div>
    );
  }
  return (
    <p className="gpucamp-Muted">
      {phase === 'finished' && report
        ? trans.__('Kernel %1, examined in %2 s', kernel, report.seconds.toFixed(1))
        : trans.__('Kernel: %1', kernel)}
    </p>
  );
}

function KernelChoice(props: {
  model: DoctorModel;
  specs: KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
  disabled: boolean;
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
        disabled={props.disabled}
        onChange={event => void model.examine(event.target.value)}
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

function FindingRow(props: { finding: Finding; trans: TranslationBundle }): React.ReactElement {
  const { finding, trans } = props;
  const evidence = evidenceLines(finding.evidence);
  const docs = safeLink(finding.docs_url);
  return (
    <li
      className="gpucamp-Finding"
      data-testid={findingTestId(finding.code)}
      data-severity={finding.severity}
    >
      <details>
        <summary>
          <span className={`gpucamp-Mark gpucamp-mod-${finding.severity}`} aria-hidden="true">
            {severityMark(finding.severity)}
          </span>
          <span className="gpucamp-Finding-text">
            <span className="gpucamp-Finding-title">
              <span className={`gpucamp-Severity gpucamp-mod-${finding.severity}`}>
                {severityText(finding.severity, trans)}
              </span>{' '}
              {finding.title}
            </span>
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
              <h2>{trans.__('What was seen')}</h2>
              <pre tabIndex={0}>{evidence.join('\n')}</pre>
            </>
          )}
          <p className="gpucamp-Muted">
            {finding.code}
            {docs && (
              <>
                {' · '}
                <a href={docs} target="_blank" rel="noopener noreferrer">
                  {trans.__('What this means')}
                </a>
              </>
            )}
          </p>
        </div>
      </details>
    </li>
  );
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
