import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, Command, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { LaunchDefaults, Run } from '../wire';
import { TextField } from './launchFields';
import type { IBrowserNotices } from './browserNotices';
import type { KernelsModel } from './kernelsModel';
import { KernelsPart } from './kernelsPart';
import type { LaunchModel } from './launchModel';
import { MoreChoices } from './moreChoices';
import { NotebookPart } from './notebookPart';
import { NotifyChoice } from './notifyPart';
import { ProposalPart } from './proposalPart';
import { RecentPart } from './recentPart';
import { RunList } from './runList';
import { PlannedTrackers } from './trackersPart';

/** What the form shows besides the launch: the user's kernels, and whether the browser may notify. */
export interface Beside {
  kernels: KernelsModel;
  browser: IBrowserNotices;
}

/** The panel to launch a run from, with the runs so far below. */
export class LaunchPanel extends VDomRenderer<LaunchModel> {
  constructor(
    model: LaunchModel,
    private readonly openRun: (run: Run) => void,
    private readonly trans: TranslationBundle,
    readonly beside: Beside
  ) {
    super(model);
    this.addClass('gpucamp-Panel');
    this.node.tabIndex = -1;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.model.dispose();
      this.beside.kernels.dispose();
      super.dispose();
    }
  }

  protected override render(): React.ReactElement {
    const { model, trans } = this;
    return (
      <div className="gpucamp-Panel-body">
        <Form model={model} trans={trans} openRun={this.openRun} beside={this.beside} />
        <RunList
          runs={model.state.runs}
          error={model.state.runsError}
          trans={trans}
          open={this.openRun}
          again={run => {
            model.fillFrom(run);
            this.node.scrollTop = 0;
          }}
          retry={() => void model.refreshRuns()}
        />
      </div>
    );
  }
}

/** The form of a launch. */
export function Form(props: {
  model: LaunchModel;
  trans: TranslationBundle;
  openRun: (run: Run) => void;
  beside: Beside;
}): React.ReactElement {
  const { model, trans, beside } = props;
  const { form, defaults, plan, planError, launching, launchError, scripts, problem } = model.state;
  const id = React.useId();
  const launch = async (): Promise<void> => {
    const run = await model.launch();
    if (run) {
      props.openRun(run);
    }
  };
  const common = { model, trans, id };
  return (
    <form
      className="gpucamp-Form"
      data-testid={TestId.ddpDialog}
      aria-label={trans.__('Launch DDP')}
      onSubmit={event => {
        event.preventDefault();
        void launch();
      }}
    >
      <h1>{trans.__('Launch DDP')}</h1>
      <p className="gpucamp-Muted">
        {trans.__(
          'Runs a training script in several processes at once (PyTorch DDP, by torchrun).'
        )}
      </p>
      <div className="gpucamp-Form-kind" role="radiogroup" aria-label={trans.__('What to run')}>
        {[false, true].map(module => (
          <label key={String(module)}>
            <input
              type="radio"
              name={`${id}-kind`}
              checked={form.module === module}
              data-testid={module ? TestId.ddpModule : undefined}
              onChange={() => model.edit({ module })}
            />
            {module ? trans.__('Module') : trans.__('Script')}
          </label>
        ))}
      </div>
      <TextField
        {...common}
        name="script"
        label={form.module ? trans.__('Module') : trans.__('Script')}
        list={form.module ? undefined : `${id}-scripts`}
        placeholder={form.module ? 'package.train' : trans.__('Choose or type a .py file')}
        hint={
          form.module
            ? trans.__('As in python -m: found from the working folder, or installed.')
            : trans.__('A Python file in your work folder.')
        }
        testId={TestId.ddpScript}
      >
        <datalist id={`${id}-scripts`}>
          {scripts.map(path => (
            <option key={path} value={path} />
          ))}
        </datalist>
      </TextField>
      <NotebookPart model={model} trans={trans} />
      <RecentPart model={model} trans={trans} />
      <TextField
        {...common}
        name="processes"
        type="number"
        min={1}
        max={defaults?.max_processes}
        step={1}
        label={trans.__('Processes')}
        hint={processesHint(defaults, trans)}
        testId={TestId.ddpProcesses}
      />
      <TextField
        {...common}
        name="arguments"
        label={trans.__('Arguments of the script')}
        placeholder="--epochs 5"
        hint={trans.__('As in a terminal: quotes keep spaces, nothing is expanded.')}
        testId={TestId.ddpArguments}
      />
      <TextField
        {...common}
        name="folder"
        label={trans.__('Working folder')}
        placeholder={form.module ? trans.__('Your work folder') : trans.__("The script's folder")}
        hint={
          form.module
            ? trans.__('Where the module and its files are. Empty: your work folder.')
            : trans.__("Where the script finds its files. Empty: the script's folder.")
        }
        testId={TestId.ddpFolder}
      />
      <MoreChoices {...common} />
      <div className="gpucamp-Field">
        <h2>{trans.__('Command')}</h2>
        <Command
          command={plan?.command ?? ''}
          forTerminal={plan?.terminal_command}
          trans={trans}
          testId={TestId.ddpCommand}
        />
        <PlannedTrackers trackers={plan?.trackers ?? []} trans={trans} />
      </div>
      {plan && plan.warnings.length > 0 && (
        <ul className="gpucamp-Warnings" role="status" aria-label={trans.__('Warnings')}>
          {plan.warnings.map(warning => (
            <li key={`${warning.code} ${warning.message}`}>
              <span className="gpucamp-Mark gpucamp-mod-degraded" aria-hidden="true">
                !
              </span>
              <span>{warning.message}</span>
            </li>
          ))}
        </ul>
      )}
      <KernelsPart model={beside.kernels} trans={trans} />
      <ProposalPart model={model} trans={trans} />
      {planError !== null && <ErrorBox error={planError} trans={trans} />}
      {launchError !== null && <ErrorBox error={launchError} trans={trans} />}
      <NotifyChoice
        browser={beside.browser}
        wished={model.state.notify}
        wish={notify => model.setNotify(notify)}
        trans={trans}
      />
      <div className="gpucamp-Actions">
        <Button
          kind="accept"
          type="submit"
          disabled={launching || problem !== null || planError !== null}
          testId={TestId.ddpLaunch}
        >
          {launching ? trans.__('Launching…') : trans.__('Launch')}
        </Button>
      </div>
    </form>
  );
}

function processesHint(defaults: LaunchDefaults | null, trans: TranslationBundle): string {
  if (!defaults) {
    return '';
  }
  return defaults.backend === 'nccl'
    ? trans.__('One for each GPU. At most %1.', defaults.max_processes)
    : trans.__('On the CPU (gloo), at most %1.', defaults.max_processes);
}
