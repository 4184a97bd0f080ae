import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from './commands';

/** The launcher's section "GPU". */
export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:launcher',
  description: 'Puts the GPU actions into the launcher',
  autoStart: true,
  requires: [ILauncher],
  optional: [ITranslator],
  activate: (_app: JupyterFrontEnd, launcher: ILauncher, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('gpucamp');
    const cards = [CommandIDs.doctor, CommandIDs.launchDdp, CommandIDs.resetEnvironment];
    cards.forEach((command, rank) => {
      launcher.add({
        command,
        args: { isLauncher: true },
        category: trans.__('GPU'),
        // After "Notebook" (0), before "Console" (20).
        categoryRank: 10,
        rank
      });
    });
  }
};
