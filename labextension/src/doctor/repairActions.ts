import type { JupyterFrontEnd } from '@jupyterlab/application';

import { CommandIDs } from '../commands';
import type { RunningKernel } from './repairDialog';
import type { IRepairActions } from './repairPart';

/** JupyterLab's hub extension has it where there is a JupyterHub. */
const HUB_PAGE = 'hub:control-panel';

/** What repairs ask of JupyterLab. */
export function repairActions(app: JupyterFrontEnd): IRepairActions {
  const { commands, serviceManager } = app;
  return {
    restart: () => {
      const isThere = commands.hasCommand(HUB_PAGE);
      if (isThere) {
        void commands.execute(HUB_PAGE);
      }
      return isThere;
    },
    reset: choice => void commands.execute(CommandIDs.resetEnvironment, { choice }),
    kernels: () => {
      const paths = new Map<string, string>();
      for (const session of serviceManager.sessions.running()) {
        if (session.kernel) {
          paths.set(session.kernel.id, session.path);
        }
      }
      return [...serviceManager.kernels.running()].map((kernel): RunningKernel => ({
        id: kernel.id,
        name: kernel.name,
        label: paths.get(kernel.id) ?? kernel.name,
        isBusy: kernel.execution_state !== 'idle'
      }));
    },
    shutDown: async ids => {
      for (const id of ids) {
        await serviceManager.kernels.shutdown(id);
      }
    }
  };
}
