import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { TestId } from '../testids';
import { EMPTY_FORM } from './form';
import { SelectField, TextAreaField, TextField } from './launchFields';
import type { LaunchModel } from './launchModel';

const FIELDS = ['variables', 'threads', 'ncclDebug', 'restarts', 'ranks', 'trackers'] as const;

/** The choices that few need, folded away until one of them is made. */
export function MoreChoices(props: {
  model: LaunchModel;
  trans: TranslationBundle;
  id: string;
}): React.ReactElement {
  const { model, trans } = props;
  const { form, problem } = model.state;
  const made = FIELDS.filter(name => form[name] !== EMPTY_FORM[name]).length;
  const wrong = problem !== null && FIELDS.some(name => name === problem.field);
  const [open, setOpen] = React.useState(made > 0);
  return (
    <details
      className="gpucamp-Form-more"
      open={open || wrong}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary data-testid={TestId.ddpMore}>
        {trans.__('More choices')}
        {made > 0 && (
          <span className="gpucamp-Muted">{` · ${trans._n('%1 made', '%1 made', made)}`}</span>
        )}
      </summary>
      <div className="gpucamp-Form">
        <TextAreaField
          {...props}
          name="variables"
          label={trans.__('Variables')}
          placeholder={'WANDB_MODE=offline\nSEED=1'}
          hint={trans.__('NAME=VALUE, for this run only. Quotes keep spaces.')}
          testId={TestId.ddpVariables}
        />
        <TextField
          {...props}
          name="threads"
          type="number"
          min={1}
          step={1}
          label={trans.__('Threads of each process (OMP_NUM_THREADS)')}
          hint={trans.__('Empty: the CPU cores are shared out evenly.')}
          testId={TestId.ddpThreads}
        />
        <SelectField
          {...props}
          name="ncclDebug"
          label={trans.__('Messages of NCCL (NCCL_DEBUG)')}
          hint={trans.__('INFO tells how the GPUs are connected, for when NCCL fails.')}
          choices={[
            ['', trans.__('WARN: errors only')],
            ['INFO', trans.__('INFO: how it connects')],
            ['TRACE', trans.__('TRACE: every call')]
          ]}
          testId={TestId.ddpNcclDebug}
        />
        <TextField
          {...props}
          name="restarts"
          type="number"
          min={0}
          step={1}
          label={trans.__('Restarts after a failure')}
          hint={trans.__('All processes start again; the script must load its last checkpoint.')}
          testId={TestId.ddpRestarts}
        />
        <TextField
          {...props}
          name="ranks"
          label={trans.__('Ranks in the log')}
          placeholder="0"
          hint={trans.__("Empty: all. The others write to files in the run's folder only.")}
          testId={TestId.ddpRanks}
        />
        <SelectField
          {...props}
          name="trackers"
          label={trans.__('Log to')}
          hint={trans.__(
            'The numbers that rank 0 prints. Set up: a key of W&B, or a folder runs beside the script.'
          )}
          choices={[
            ['', trans.__('What is set up')],
            ['none', trans.__('Nothing')],
            ['tensorboard', 'TensorBoard'],
            ['wandb', 'Weights & Biases'],
            ['tensorboard,wandb', 'TensorBoard, Weights & Biases']
          ]}
          testId={TestId.ddpTrackers}
        />
      </div>
    </details>
  );
}
