import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, ErrorBox } from '../components';
import { bytesText } from '../statusText';
import { TestId } from '../testids';
import type { HeldByKernel } from '../wire';
import type { KernelsModel } from './kernelsModel';

/** The memory that kernels hold, with the offer to shut some of them down. Nothing where there are none. */
export function KernelsPart(props: {
  model: KernelsModel;
  trans: TranslationBundle;
}): React.ReactElement {
  return <UseSignal signal={props.model.stateChanged}>{() => <Kernels {...props} />}</UseSignal>;
}

function Kernels(props: {
  model: KernelsModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { held, chosen, ending, error } = model.state;
  const much = held?.much === true;
  const [open, setOpen] = React.useState(much);
  React.useEffect(() => setOpen(much), [much]);
  if (!held || (held.kernels.length === 0 && error === null)) {
    return null;
  }
  return (
    <details
      className="gpucamp-Kernels"
      data-testid={TestId.ddpKernels}
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>
        {much && (
          <span className="gpucamp-Mark gpucamp-mod-degraded" aria-hidden="true">
            !
          </span>
        )}
        {heldText(held.kernels, trans)}
      </summary>
      {error !== null && <ErrorBox error={error} trans={trans} />}
      <ul>
        {held.kernels.map(kernel => (
          <li key={kernel.id}>
            <label>
              <input
                type="checkbox"
                checked={chosen.has(kernel.id)}
                disabled={ending}
                onChange={event => model.choose(kernel.id, event.target.checked)}
              />
              <span>{kernelName(kernel)}</span>
            </label>
            <span className="gpucamp-Muted">
              {kernelText(kernel, trans)}
              {kernel.state === 'busy' && ` · ${trans.__('a cell runs in it')}`}
            </span>
          </li>
        ))}
      </ul>
      <div className="gpucamp-Actions">
        <Button
          disabled={ending || chosen.size === 0}
          onClick={() => void confirmEnd(model, trans)}
          testId={TestId.ddpKernelsEnd}
        >
          {ending ? trans.__('Shutting down…') : trans.__('Shut down the chosen kernels…')}
        </Button>
      </div>
    </details>
  );
}

async function confirmEnd(model: KernelsModel, trans: TranslationBundle): Promise<void> {
  const { held, chosen } = model.state;
  const kernels = held?.kernels.filter(kernel => chosen.has(kernel.id)) ?? [];
  const answer = await showDialog({
    title: trans._n('Shut down %1 kernel?', 'Shut down %1 kernels?', kernels.length),
    body: (
      <div>
        <p>
          {trans.__(
            'Variables that are not saved are lost, and a cell that runs is ended. The notebooks stay as they are, with their output.'
          )}
        </p>
        <ul>
          {kernels.map(kernel => (
            <li key={kernel.id}>
              {kernelName(kernel)}
              {kernel.state === 'busy' && ` · ${trans.__('a cell runs in it')}`}
            </li>
          ))}
        </ul>
      </div>
    ),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Shut down') })
    ],
    defaultButton: 0
  });
  if (answer.button.accept) {
    await model.end();
  }
}

/** A kernel as people know it: by its notebook, else by its kind. */
export function kernelName(kernel: HeldByKernel): string {
  return kernel.label || `${kernel.name} (${kernel.id.slice(0, 8)})`;
}

/** What one kernel holds, in words. */
export function kernelText(kernel: HeldByKernel, trans: TranslationBundle): string {
  const parts = [
    kernel.memory_bytes === null
      ? trans.__('memory: not known')
      : trans.__('%1 of memory', bytesText(kernel.memory_bytes))
  ];
  if (kernel.uses_gpu) {
    parts.unshift(
      kernel.gpu_bytes === null
        ? trans.__('uses a GPU, how much is not known')
        : trans.__('%1 of GPU memory', bytesText(kernel.gpu_bytes))
    );
  }
  return parts.join(' · ');
}

/** What all of them hold, in words. */
export function heldText(kernels: readonly HeldByKernel[], trans: TranslationBundle): string {
  const memory = kernels.reduce((sum, kernel) => sum + (kernel.memory_bytes ?? 0), 0);
  const gpu = kernels.reduce((sum, kernel) => sum + (kernel.gpu_bytes ?? 0), 0);
  const isUnknown = kernels.some(kernel => kernel.uses_gpu && kernel.gpu_bytes === null);
  const count = trans._n('%1 kernel of yours runs', '%1 kernels of yours run', kernels.length);
  const parts = [count];
  if (gpu > 0) {
    parts.push(trans.__('%1 of GPU memory', bytesText(gpu)));
  }
  if (isUnknown) {
    parts.push(trans.__('uses a GPU, how much is not known'));
  }
  parts.push(trans.__('%1 of memory', bytesText(memory)));
  return parts.join(' · ');
}
