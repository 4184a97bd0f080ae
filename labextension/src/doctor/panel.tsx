import type { KernelSpec } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, CopyButton, ErrorBox } from '../components';
import { TestId } from '../testids';
import {
  asJson,
  asText,
  rows,
  skippedChecks,
  unexaminedChecks,
  verdictOf,
  verdictText
} from './examination';
import { FindingRow } from './findingRow';
import { useKeptFocus } from './focus';
import { KernelChoice, kernelName, useRunningKernels } from './kernelChoice';
import type { DoctorModel } from './model';
import { News } from './news';
import type { PerformanceModel } from './performanceModel';
import { Performance } from './performancePart';
import { Progress } from './progress';
import { type IRepairs, MendingPart, RepairContext } from './repairPart';

/**
 * The doctor's panel: verdict, progress, findings.
 *
 * Guarantees: an element that has the focus, and a finding that is unfolded, stay while results come, and where what
 * had the focus is gone, the focus stays in the panel; what changes is announced once, and never the whole list again.
 */
export class DoctorPanel extends VDomRenderer<DoctorModel> {
  constructor(
    model: DoctorModel,
    private readonly specs: KernelSpec.IManager,
    private readonly trans: TranslationBundle,
    private readonly performance: PerformanceModel | null = null
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
    this.repairs?.model.dispose();
    this.model.dispose();
    this.performance?.dispose();
    super.dispose();
  }

  protected override render(): React.ReactElement {
    return (
      <RepairContext.Provider value={this.repairs}>
        <Doctor
          model={this.model}
          specs={this.specs.specs}
          performance={this.performance}
          trans={this.trans}
        />
      </RepairContext.Provider>
    );
  }

  /** What offers repairs; null: nothing does. To be set before the panel is shown. */
  repairs: IRepairs | null = null;

  private _onSpecsChanged(): void {
    this.update();
  }
}

interface IDoctorProps {
  model: DoctorModel;
  specs: KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
}

function Doctor(
  props: IDoctorProps & { performance: PerformanceModel | null }
): React.ReactElement {
  const { model, specs, trans } = props;
  const { state } = model;
  const body = React.useRef<HTMLDivElement>(null);
  useKeptFocus(body);
  return (
    <div className="gpucamp-Panel-body" ref={body}>
      <News model={model} trans={trans} />
      <Header model={model} specs={specs} trans={trans} />
      <MendingPart trans={trans} />
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
      <Findings model={model} trans={trans} />
      {state.phase === 'finished' && <Checks model={model} trans={trans} />}
      {state.phase !== 'idle' && state.phase !== 'running' && (
        <div className="gpucamp-Actions">
          <CopyButton
            label={trans.__('Copy as text')}
            text={() => asText(state, trans)}
            trans={trans}
          />
          <CopyButton label={trans.__('Copy as JSON')} text={() => asJson(state)} trans={trans} />
        </div>
      )}
      {props.performance && (
        <Performance
          model={props.performance}
          kernel={model.kernel}
          row={one => <FindingRow key={one.code} finding={one} old={false} trans={trans} />}
          trans={trans}
        />
      )}
    </div>
  );
}

/** The verdict, how far it is, and what one can do. */
function Header(props: IDoctorProps): React.ReactElement {
  const { model, specs, trans } = props;
  const { state } = model;
  const running = state.phase === 'running';
  const verdict = verdictOf(state.findings);
  // Before its end an examination that has found no problem has not found that all is well.
  const isTold = state.phase === 'finished' || verdict === 'blocked' || verdict === 'degraded';
  const tone = isTold ? verdict : 'waiting';
  const isAnother = model.kernel !== state.kernel || model.kernelId !== state.kernelId;
  return (
    <div className="gpucamp-Doctor-header">
      <span className={`gpucamp-Mark gpucamp-Mark-large gpucamp-mod-${tone}`} aria-hidden="true">
        {{ waiting: '…', healthy: '✓', advice: '✓', degraded: '!', blocked: '✗' }[tone]}
      </span>
      <div className="gpucamp-Doctor-headline">
        <h1
          data-testid={TestId.doctorVerdict}
          data-phase={state.phase}
          data-verdict={state.phase === 'finished' ? (state.report?.verdict ?? verdict) : ''}
        >
          {verdictText(state, trans)}
        </h1>
        <Progress
          model={model}
          kernel={kernelName(state.kernel, state.kernelId, useRunningKernels(), specs)}
          trans={trans}
        />
      </div>
      <div className="gpucamp-Actions">
        <KernelChoice model={model} specs={specs} trans={trans} />
        {/* One button for both, so that the focus stays on it. */}
        <Button
          kind={running ? 'plain' : 'accept'}
          onClick={() => (running ? model.cancel() : void model.examine())}
          testId={TestId.doctorExamine}
        >
          {running
            ? trans.__('Stop')
            : state.phase === 'idle' || isAnother
              ? trans.__('Examine')
              : trans.__('Examine again')}
        </Button>
      </div>
    </div>
  );
}

function Findings(props: {
  model: DoctorModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { trans } = props;
  const { state } = props.model;
  const shown = rows(state);
  if (shown.length === 0) {
    return null;
  }
  return (
    <section aria-labelledby="gpucamp-findings">
      <h2 id="gpucamp-findings" className="gpucamp-Hidden">
        {trans.__('Findings')}
      </h2>
      {/* The role says again what a list without bullets is not for every browser. */}
      <ul className="gpucamp-Findings" role="list">
        {shown.map(({ finding, old }) => (
          <FindingRow
            key={finding.code}
            finding={finding}
            old={old}
            isCurrent={state.phase === 'finished' && !old}
            trans={trans}
          />
        ))}
      </ul>
    </section>
  );
}

/** What the other checks said. */
function Checks(props: { model: DoctorModel; trans: TranslationBundle }): React.ReactElement {
  const { trans } = props;
  const { report } = props.model.state;
  const passed = report?.checks_passed ?? [];
  const [skipped, unexamined] = [skippedChecks(report), unexaminedChecks(report)];
  return (
    <div className="gpucamp-Doctor-footer">
      <CheckNames mark="✓" label={trans.__('Passed checks: %1', passed.length)} names={passed} />
      <CheckNames
        mark="?"
        label={trans.__('Checks without an answer: %1', unexamined.length)}
        names={unexamined}
      />
      <CheckNames mark="–" label={trans.__('Skipped checks: %1', skipped.length)} names={skipped} />
    </div>
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
