import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { doctorIcon } from '../icons';
import { DoctorModel } from './model';
import { DoctorPanel } from './panel';
import { PerformanceModel } from './performanceModel';
import { repairActions } from './repairActions';
import { RepairModel } from './repairModel';

/** "GPU doctor": one panel, opened by a command. */
export const doctorPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:doctor',
  description: 'Examines the GPU environment of a kernel and says how to mend it',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ILayoutRestorer, INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    notebooks: INotebookTracker | null
  ): void => {
    const language = translator ?? nullTranslator;
    const trans = language.load('gpucamp');
    const api = new Api(app.serviceManager.serverSettings, language.languageCode);
    const tracker = new WidgetTracker<MainAreaWidget<DoctorPanel>>({ namespace: 'gpucamp-doctor' });

    const currentKernel = (): string =>
      notebooks?.currentWidget?.sessionContext.session?.kernel?.name ??
      app.serviceManager.kernelspecs.specs?.default ??
      'python3';

    addCommand(app, trans, palette, CommandIDs.doctor, {
      label: trans.__('GPU doctor'),
      caption: trans.__('Find out why the GPU does not work, and how to mend it'),
      icon: doctorIcon,
      args: {
        kernel: { type: 'string', description: 'The kernel spec to examine' },
        restored: { type: 'boolean', description: 'Show the last report instead of a new one' }
      },
      execute: async args => {
        const asked = typeof args['kernel'] === 'string' ? args['kernel'] : null;
        const open = tracker.currentWidget;
        if (open && !open.isDisposed) {
          app.shell.activateById(open.id);
          if (open.content.model.state.phase !== 'running' || asked) {
            void open.content.model.examine(asked ?? open.content.model.kernel);
          }
          return open;
        }
        await app.serviceManager.kernelspecs.ready.catch(() => undefined);
        const model = new DoctorModel(api, asked ?? currentKernel());
        const content = new DoctorPanel(
          model,
          app.serviceManager.kernelspecs,
          trans,
          new PerformanceModel(api)
        );
        const { kernels, sessions } = app.serviceManager;
        const draw = (): void => content.update();
        for (const one of [kernels.runningChanged, sessions.runningChanged]) {
          one.connect(draw);
          content.disposed.connect(() => void one.disconnect(draw));
        }
        content.repairs = {
          model: new RepairModel(api, model),
          actions: repairActions(app),
          examine: () => void model.examine()
        };
        const widget = new MainAreaWidget({ content });
        widget.toolbar.hide(); // it would be empty
        widget.id = 'gpucamp-doctor';
        widget.title.label = trans.__('GPU doctor');
        widget.title.icon = doctorIcon;
        await tracker.add(widget);
        app.shell.add(widget, 'main');
        app.shell.activateById(widget.id);
        void (args['restored'] ? model.resume() : model.open());
        return widget;
      }
    });

    if (restorer) {
      void restorer.restore(tracker, {
        command: CommandIDs.doctor,
        args: () => ({ restored: true }),
        name: () => 'doctor'
      });
    }
  }
};
