import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, Command, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { LaunchDefaults, Run } from '../wire';
import type { FormField, FormProblem } from './form';
import type { LaunchModel } from './launchModel';
import { RunList } from './runList';

/** The panel to launch a run from, with the runs so far below. */
export class LaunchPanel extends VDomRenderer<LaunchModel> {
  constructor(
    model: LaunchModel,
    private readonly openRun: (run: Run) => void,
    private readonly trans: TranslationBundle
  ) {
    super(model);
    this.addClass('gpucamp-Panel');
    this.node.tabIndex = -1;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.model.dispose();
      super.dispose();
    }
  }

  protected override render(): React.ReactElement {
    const { model, trans } = this;
    return (
      <div className="gpucamp-Panel-body">
        <Form model={model} trans={trans} openRun={this.openRun} />
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

function Form(props: {
  model: LaunchModel;
  trans: TranslationBundle;
  openRun: (run: Run) => void;
}): React.ReactElement {
  const { model, trans } = props;
  const { form, defaults, plan, planError, launching, launchError, scripts, problem } = model.state;
  const id = React.useId();
  const launch = async (): Promise<void> => {
    const run = await model.launch();
    if (run) {
      props.openRun(run);
    }
  };
  const field = (name: FormField): React.InputHTMLAttributes<HTMLInputElement> => {
    const wrong = problem?.field === name && problem.reason !== 'no-script';
    return {
      className: 'jp-mod-styled',
      id: `${id}-${name}`,
      value: form[name],
      spellCheck: false,
      autoComplete: 'off',
      'aria-invalid': wrong,
      'aria-describedby': `${id}-${name}-hint`,
      onChange: event => model.edit({ [name]: event.target.value })
    };
  };
  const hint = (name: FormField, text: string): React.ReactElement => {
    const wrong = problem?.field === name && problem.reason !== 'no-script';
    return (
      <p
        id={`${id}-${name}-hint`}
        className={wrong ? 'gpucamp-Field-problem' : 'gpucamp-Muted'}
        role={wrong ? 'alert' : undefined}
      >
        {wrong ? `✗ ${problemText(problem, defaults, trans)}` : text}
      </p>
    );
  };
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
      <div className="gpucamp-Field">
        <label htmlFor={`${id}-script`}>{trans.__('Script')}</label>
        <input
          {...field('script')}
          type="text"
          list={`${id}-scripts`}
          placeholder={trans.__('Choose or type a .py file')}
          data-testid={TestId.ddpScript}
        />
        <datalist id={`${id}-scripts`}>
          {scripts.map(path => (
            <option key={path} value={path} />
          ))}
        </datalist>
        {hint('script', trans.__('A Python file in your work folder.'))}
      </div>
      <div className="gpucamp-Field">
        <label htmlFor={`${id}-processes`}>{trans.__('Processes')}</label>
        <input
          {...field('processes')}
          type="number"
          min={1}
          max={defaults?.max_processes}
          step={1}
          data-testid={TestId.ddpProcesses}
        />
        {hint('processes', processesHint(defaults, trans))}
      </div>
      <div className="gpucamp-Field">
        <label htmlFor={`${id}-arguments`}>{trans.__('Arguments of the script')}</label>
        <input
          {...field('arguments')}
          type="text"
          placeholder="--epochs 5"
          data-testid={TestId.ddpArguments}
        />
        {hint('arguments', trans.__('As in a terminal: quotes keep spaces, nothing is expanded.'))}
      </div>
      <div className="gpucamp-Field">
        <label htmlFor={`${id}-folder`}>{trans.__('Working folder')}</label>
        <input
          {...field('folder')}
          type="text"
          placeholder={trans.__("The script's folder")}
          data-testid={TestId.ddpFolder}
        />
        {hint('folder', trans.__("Where the script finds its files. Empty: the script's folder."))}
      </div>
      <div className="gpucamp-Field">
        <h2>{trans.__('Command')}</h2>
        <Command
          command={plan?.command ?? ''}
          forTerminal={plan?.terminal_command}
          trans={trans}
          testId={TestId.ddpCommand}
        />
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
      {planError !== null && <ErrorBox error={planError} trans={trans} />}
      {launchError !== null && <ErrorBox error={launchError} trans={trans} />}
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

function problemText(
  problem: FormProblem,
  defaults: LaunchDefaults | null,
  trans: TranslationBundle
): string {
  switch (problem.reason) {
    case 'no-script':
      return trans.__('Choose a script.');
    case 'not-python':
      return trans.__('The script must be a .py file.');
    case 'not-a-number':
      return trans.__('Enter a whole number.');
    case 'out-of-range':
      return defaults
        ? trans.__('Enter a number from 1 to %1.', defaults.max_processes)
        : trans.__('Enter a number above 0.');
    case 'open-quote':
      return trans.__('A quote is not closed.');
  }
}
