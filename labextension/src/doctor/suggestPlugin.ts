import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IConsoleTracker } from '@jupyterlab/console';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import type { LeaseModel } from '../lease/model';
import { ILease, labNotifications, pageStorage } from '../lease/plugin';
import { Told } from '../lease/told';
import { type IWatched, watchKernel } from './kernelWatch';
import { Suggester } from './suggest';

/** Suggests the doctor when a kernel or a GPU breaks, switched by the setting `suggestDoctor`. */
export const suggestPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:suggest-doctor',
  description: 'Suggests the GPU doctor when a kernel dies or does not start, or a GPU is lost',
  autoStart: true,
  optional: [ITranslator, ISettingRegistry, INotebookTracker, IConsoleTracker, ILease],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    settingRegistry: ISettingRegistry | null,
    notebooks: INotebookTracker | null,
    consoles: IConsoleTracker | null,
    lease: LeaseModel | null
  ): void => {
    const { kernelspecs, serverSettings } = app.serviceManager;
    // Kernels are watched from the first moment, so this is not waited for here.
    const settings = settingRegistry?.load('gpucamp:plugin').catch((error: unknown) => {
      console.error('The settings of gpucamp cannot be read', error);
    });
    const suggester = new Suggester({
      notifications: labNotifications,
      told: new Told(pageStorage(), `gpucamp:suggested:${serverSettings.baseUrl}:`),
      isVisible: () => !document.hidden,
      isWanted: async () => (await settings)?.get('suggestDoctor').composite !== false,
      examine: kernel => void app.commands.execute(CommandIDs.doctor, kernel ? { kernel } : {}),
      trans: (translator ?? nullTranslator).load('gpucamp')
    });
    document.addEventListener('visibilitychange', () => void suggester.catchUp());

    const watch = (context: IWatched): void =>
      watchKernel(context, {
        broke: cause => void suggester.suggest(cause),
        works: kernel => suggester.kernelWorks(kernel),
        specOf: displayName => {
          const all = Object.values(kernelspecs.specs?.kernelspecs ?? {});
          return all.find(spec => spec?.display_name === displayName)?.name ?? null;
        }
      });
    for (const tracker of [notebooks, consoles]) {
      tracker?.forEach(widget => watch(widget.sessionContext));
      tracker?.widgetAdded.connect((_, widget) => watch(widget.sessionContext));
    }

    const followLease = (): void => void suggester.lease(lease?.state.view ?? null);
    lease?.stateChanged.connect(followLease);
    void settings?.then(loaded => loaded?.changed.connect(followLease));
    followLease();
  }
};
