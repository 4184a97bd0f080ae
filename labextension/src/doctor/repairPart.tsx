import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button } from '../components';
import { describeError } from '../errors';
import type { ResetChoice } from '../reset/choices';
import { repairTestId, TestId } from '../testids';
import type { Finding, RepairKind } from '../wire';
import { askConsent, chooseKernels, type RunningKernel } from './repairDialog';
import type { Mending, RepairModel } from './repairModel';

/** What is done elsewhere in JupyterLab. */
export interface IRepairActions {
  /** Leads to where the server is stopped and started; false where there is no such place. */
  restart(): boolean;
  /** Asks for a reset, with the choice that mends it. */
  reset(choice: ResetChoice): void;
  kernels(): RunningKernel[];
  /** Shuts kernels down; rejects when one could not be. */
  shutDown(ids: string[]): Promise<void>;
}

/** What the panel's parts need to offer repairs. */
export interface IRepairs {
  model: RepairModel;
  actions: IRepairActions;
  /** Examines again. */
  examine(): void;
}

export const RepairContext = React.createContext<IRepairs | null>(null);

/** The button that leads to a finding's repair; nothing where there is none. */
export function RepairButton(props: {
  finding: Finding;
  /** Whether the finding is what an examination that has ended says. */
  isCurrent: boolean;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { finding, trans } = props;
  const repairs = React.useContext(RepairContext);
  const mending = useMending(repairs?.model ?? null);
  const repair = finding.repair;
  const [problem, setProblem] = React.useState('');
  if (!repairs || !repair) {
    return null;
  }
  const isOff = !props.isCurrent || mending?.phase === 'running' || mending?.phase === 'checking';
  const begin = async (): Promise<void> => {
    setProblem('');
    const { actions, model } = repairs;
    if (repair.kind === 'packages') {
      actions.reset('packages');
    } else if (repair.kind === 'kernels') {
      const ids = await chooseKernels(finding, repair, actions.kernels(), trans);
      if (ids.length > 0) {
        await actions.shutDown(ids).catch((error: unknown) => {
          setProblem(describeError(error, trans));
        });
        repairs.examine();
      }
    } else if (repair.kind === 'restart') {
      const steps = (
        <p>
          {trans.__(
            'Save your work. On JupyterHub’s page press “Stop My Server”, wait until it has stopped, then “Start My Server”.'
          )}
        </p>
      );
      if (await askConsent(finding, repair, trans, trans.__('Open JupyterHub’s page'), steps)) {
        if (!actions.restart()) {
          setProblem(
            trans.__('There is no JupyterHub here. Restart Jupyter where you started it.')
          );
        }
      }
    } else if (repair.kind === 'kernel' && !repair.command) {
      // of a process that was examined in a terminal
      setProblem(trans.__('Restart it in its notebook: Kernel > Restart Kernel…'));
    } else if (
      await askConsent(
        finding,
        repair,
        trans,
        repair.kind === 'kernel' ? trans.__('Restart the kernel') : trans.__('Repair')
      )
    ) {
      await model.mend(finding);
    }
  };
  return (
    <div className="gpucamp-Actions gpucamp-Repair-offer">
      <Button
        aria-disabled={isOff}
        aria-haspopup="dialog"
        aria-label={`${labelOf(repair.kind, trans)} ${finding.title}`}
        onClick={() => {
          if (!isOff) {
            void begin();
          }
        }}
        testId={repairTestId(finding.code)}
      >
        {labelOf(repair.kind, trans)}
      </Button>
      {problem && (
        <span className="gpucamp-Field-problem" role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

function labelOf(kind: RepairKind, trans: TranslationBundle): string {
  switch (kind) {
    case 'kernel':
      return trans.__('Restart the kernel…');
    case 'restart':
      return trans.__('Restart the server…');
    case 'packages':
      return trans.__('Remove what I installed…');
    case 'kernels':
      return trans.__('Shut down kernels…');
    default:
      return trans.__('Repair…');
  }
}

/** The repair that goes on, or the last one: what it says, how it ended, what is left to do. */
export function MendingPart(props: { trans: TranslationBundle }): React.ReactElement | null {
  const { trans } = props;
  const repairs = React.useContext(RepairContext);
  const mending = useMending(repairs?.model ?? null);
  const heading = React.useRef<HTMLHeadingElement>(null);
  const phase = mending?.phase ?? 'idle';
  // Before anybody else looks after a focus that is lost.
  React.useLayoutEffect(() => {
    const lost = document.activeElement === null || document.activeElement === document.body;
    if (lost && !['idle', 'running', 'checking'].includes(phase)) {
      heading.current?.focus(); // the finding whose button had it is gone
    }
  }, [phase]);
  if (!repairs || !mending) {
    return null;
  }
  return (
    <>
      {/* There before it has anything to say, so that it is heard. */}
      <p className="gpucamp-Hidden" role="status">
        {phase === 'idle' ? '' : phaseText(mending, trans)}
      </p>
      {phase !== 'idle' && (
        <MendingReport mending={mending} model={repairs.model} heading={heading} trans={trans} />
      )}
    </>
  );
}

function MendingReport(props: {
  mending: Mending;
  model: RepairModel;
  heading: React.Ref<HTMLHeadingElement>;
  trans: TranslationBundle;
}): React.ReactElement {
  const { mending, model, heading, trans } = props;
  const { phase } = mending;
  const isOver = phase !== 'running' && phase !== 'checking';
  return (
    <section
      className="gpucamp-Repair"
      aria-labelledby="gpucamp-repair-state"
      data-testid={TestId.repair}
      data-phase={phase}
    >
      <div className="gpucamp-Repair-header">
        <span className={`gpucamp-Mark gpucamp-mod-${tone(phase)}`} aria-hidden="true">
          {{ healthy: '✓', degraded: '!', blocker: '✗', waiting: '…' }[tone(phase)]}
        </span>
        <h2 id="gpucamp-repair-state" ref={heading} tabIndex={-1}>
          {phaseText(mending, trans)}
        </h2>
        {phase === 'running' && (
          <Button onClick={() => void model.stop()}>{trans.__('Stop the repair')}</Button>
        )}
        {isOver && (
          <Button kind="quiet" onClick={() => model.forget()}>
            {trans.__('Close')}
          </Button>
        )}
      </div>
      {mending.error !== null && <p role="alert">{describeError(mending.error, trans)}</p>}
      {phase === 'mended' && mending.then.map(text => <p key={text}>{text}</p>)}
      <details open={!isOver || phase === 'failed' || undefined}>
        <summary>{trans.__('What was run, and what it said')}</summary>
        <pre role="group" tabIndex={0} aria-label={trans.__('What was run, and what it said')}>
          {`$ ${mending.command}\n${mending.output}`}
        </pre>
      </details>
    </section>
  );
}

function tone(phase: Mending['phase']): 'healthy' | 'degraded' | 'blocker' | 'waiting' {
  switch (phase) {
    case 'mended':
      return 'healthy';
    case 'failed':
      return 'blocker';
    case 'remains':
    case 'unknown':
      return 'degraded';
    default:
      return 'waiting';
  }
}

function phaseText(mending: Mending, trans: TranslationBundle): string {
  const { title } = mending;
  switch (mending.phase) {
    case 'running':
      return trans.__('Repairing: %1', title);
    case 'checking':
      return trans.__('Examining again: %1', title);
    case 'mended':
      return trans.__('Mended: %1', title);
    case 'remains':
      return trans.__('This is still there: %1', title);
    case 'failed':
      return trans.__('Not mended: %1', title);
    default:
      return trans.__('It is not known whether this is mended; examine again: %1', title);
  }
}

function useMending(model: RepairModel | null): Mending | null {
  const [state, setState] = React.useState(model?.state ?? null);
  React.useEffect(() => {
    if (!model) {
      return undefined;
    }
    const follow = (): void => setState(model.state);
    model.stateChanged.connect(follow);
    follow();
    return () => void model.stateChanged.disconnect(follow);
  }, [model]);
  return state;
}
