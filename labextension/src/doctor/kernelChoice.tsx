import type { KernelSpec } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { TestId } from '../testids';
import type { DoctorModel } from './model';
import type { RunningKernel } from './repairDialog';
import { RepairContext } from './repairPart';

/** Before the id of a running kernel: no spec's name has a colon. */
const RUNNING = 'running:';

/** What a kernel is called: the notebook of one that runs, else its spec's name for people. */
export function kernelName(
  kernel: string,
  kernelId: string,
  running: readonly RunningKernel[],
  specs: KernelSpec.ISpecModels | null
): string {
  const one = kernelId ? running.find(each => each.id === kernelId) : undefined;
  return one && one.label !== one.name
    ? one.label
    : (specs?.kernelspecs[kernel]?.display_name ?? kernel);
}

/** The kernels that run; empty where nobody can say. */
export function useRunningKernels(): RunningKernel[] {
  return React.useContext(RepairContext)?.actions.kernels() ?? [];
}

/** Only chooses: with the keyboard one passes by other kernels on the way. */
export function KernelChoice(props: {
  model: DoctorModel;
  specs: KernelSpec.ISpecModels | null;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, specs, trans } = props;
  const running = useRunningKernels();
  const names = Object.keys(specs?.kernelspecs ?? {});
  if (!model.kernelId && !names.includes(model.kernel)) {
    names.unshift(model.kernel);
  }
  const nameOf = (name: string): string => kernelName(name, '', [], specs);
  const choices = names.map(name => (
    <option key={name} value={name}>
      {nameOf(name)}
    </option>
  ));
  const hasEnded = model.kernelId !== '' && !running.some(one => one.id === model.kernelId);
  return (
    <label className="gpucamp-Field-inline">
      <span>{trans.__('Kernel')}</span>
      <select
        className="jp-mod-styled"
        data-testid={TestId.doctorKernel}
        value={model.kernelId ? RUNNING + model.kernelId : model.kernel}
        onChange={event => {
          const { value } = event.target;
          const one = running.find(kernel => RUNNING + kernel.id === value);
          model.choose(one?.name ?? value, one?.id);
        }}
      >
        {running.length === 0 && !hasEnded ? (
          choices
        ) : (
          <>
            <optgroup label={trans.__('A new kernel')}>{choices}</optgroup>
            <optgroup label={trans.__('Kernels that run')}>
              {running.map(one => (
                <option key={one.id} value={RUNNING + one.id}>
                  {one.label === one.name ? nameOf(one.name) : `${one.label} · ${nameOf(one.name)}`}
                </option>
              ))}
            </optgroup>
            {hasEnded && (
              <option value={RUNNING + model.kernelId}>
                {trans.__('%1 (has ended)', nameOf(model.kernel))}
              </option>
            )}
          </>
        )}
      </select>
    </label>
  );
}
