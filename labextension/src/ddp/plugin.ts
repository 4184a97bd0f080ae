import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, Notification, WidgetTracker } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { IEditorTracker } from '@jupyterlab/fileeditor';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { ddpIcon } from '../icons';
import { pageStorage } from '../lease/plugin';
import type { Run } from '../wire';
import { BrowserNotices } from './browserNotices';
import { EndNotifier } from './endNotifier';
import { endText } from './endText';
import { serverPath } from './form';
import { KernelsModel } from './kernelsModel';
import { LaunchModel } from './launchModel';
import { LaunchPanel } from './launchPanel';
import { MetricsModel } from './metricsModel';
import { RunModel } from './runModel';
import { RunPanel } from './runPanel';
import { type Entry, findScripts } from './scripts';
import { UsageModel } from './usageModel';
import { Wishes } from './wishes';

/** What is needed of an open document. */
interface Saved {
  readonly path: string;
  readonly model: { readonly dirty: boolean };
  save(): Promise<void>;
}

/** Whether a file can be launched, as it is or as a script that is made of it. */
function isLaunched(path: string): boolean {
  return path.endsWith('.py') || path.endsWith('.ipynb');
}

/** "Launch DDP": the form with the runs so far, and a panel for each run that is looked at. */
export const ddpPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:ddp',
  description: 'Launches a script in several processes and follows the run',
  autoStart: true,
  optional: [
    ITranslator,
    ICommandPalette,
    ILayoutRestorer,
    IFileBrowserFactory,
    IEditorTracker,
    INotebookTracker
  ],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    fileBrowsers: IFileBrowserFactory | null,
    editors: IEditorTracker | null,
    notebooks: INotebookTracker | null
  ): void => {
    const language = translator ?? nullTranslator;
    const trans = language.load('gpucamp');
    const { contents, kernels, serverSettings, sessions } = app.serviceManager;
    const api = new Api(serverSettings, language.languageCode);
    const forms = new WidgetTracker<MainAreaWidget<LaunchPanel>>({ namespace: 'gpucamp-ddp' });
    const runs = new WidgetTracker<MainAreaWidget<RunPanel>>({ namespace: 'gpucamp-ddp-run' });

    const browser = new BrowserNotices(window);
    const wishes = new Wishes(pageStorage(), `gpucamp-notify:${serverSettings.baseUrl}:`, window);
    const notify = { wishes, browser };

    const tellEnd = (run: Run): void => {
      const { title, body, type } = endText(run, trans);
      const show = (): void => void openRun(run.id, run);
      Notification.emit(`${title} ${body}`.trim(), type, {
        autoClose: false,
        actions: [{ label: trans.__('Show'), callback: show }]
      });
      browser.show(title, body, `gpucamp-${run.id}`, show);
    };
    new EndNotifier({ api, wishes, tell: tellEnd });

    /** Through its session where it has one, so that its notebook sees it. */
    const endKernel = async (id: string): Promise<void> => {
      await sessions.refreshRunning();
      const session = [...sessions.running()].find(one => one.kernel?.id === id);
      await (session ? sessions.shutdown(session.id) : kernels.shutdown(id));
    };

    const listFolder = async (path: string): Promise<Entry[]> => {
      const model = await contents.get(path, { content: true, type: 'directory' });
      return model.content as Entry[];
    };

    const selectedScript = (): string | null => {
      for (const item of fileBrowsers?.tracker.currentWidget?.selectedItems() ?? []) {
        if (isLaunched(item.path)) {
          return serverPath(item.path);
        }
      }
      return null;
    };

    /** The script or notebook in front, saved first, so that what runs is what is seen. */
    const editedScript = async (): Promise<string | null> => {
      const front = [editors?.currentWidget, notebooks?.currentWidget].find(
        widget => widget && widget === app.shell.currentWidget
      );
      if (!front || !isLaunched(front.context.path)) {
        return null;
      }
      return save(front.context);
    };

    const save = async (context: Saved): Promise<string> => {
      if (context.model.dirty) {
        await context.save();
      }
      return serverPath(context.path);
    };

    /** The same for one that was chosen elsewhere, where it is open. */
    const saveIfOpen = async (path: string): Promise<void> => {
      const open = [editors, notebooks].map(tracker =>
        tracker?.find(widget => serverPath(widget.context.path) === path)
      );
      for (const widget of open) {
        if (widget) {
          await save(widget.context);
        }
      }
    };

    const openRun = async (id: string, run?: Run): Promise<MainAreaWidget<RunPanel>> => {
      const open = runs.find(widget => widget.content.model.id === id);
      if (open) {
        app.shell.activateById(open.id);
        return open;
      }
      const model = new RunModel({ api, id, run });
      const content = new RunPanel(
        model,
        again => void openForm(form => form.fillFrom(again)),
        () => void app.commands.execute(CommandIDs.doctor),
        trans,
        new MetricsModel({ api, id }),
        new UsageModel({ api, id }),
        notify
      );
      const widget = new MainAreaWidget({ content });
      widget.toolbar.hide(); // it would be empty
      widget.id = `gpucamp-ddp-run-${id}`;
      widget.title.icon = ddpIcon;
      const title = (): void => {
        const script = model.state.run?.script.split('/').pop();
        widget.title.label = script ? trans.__('DDP: %1', script) : trans.__('DDP run');
        widget.title.caption = model.state.run?.command ?? '';
      };
      model.stateChanged.connect(title);
      title();
      await runs.add(widget);
      app.shell.add(widget, 'main');
      app.shell.activateById(widget.id);
      void model.follow();
      return widget;
    };

    const openForm = async (
      prepare: (model: LaunchModel) => void
    ): Promise<MainAreaWidget<LaunchPanel>> => {
      const open = forms.currentWidget;
      if (open && !open.isDisposed) {
        prepare(open.content.model);
        app.shell.activateById(open.id);
        void open.content.model.refreshRuns();
        void open.content.beside.kernels.refresh();
        return open;
      }
      const model = new LaunchModel({
        api,
        scripts: () => findScripts(listFolder),
        wish: id => wishes.set(id, true)
      });
      const held = new KernelsModel({ api, end: endKernel, ended: () => model.replan() });
      const content = new LaunchPanel(model, run => void openRun(run.id, run), trans, {
        kernels: held,
        browser
      });
      const widget = new MainAreaWidget({ content });
      widget.toolbar.hide(); // it would be empty
      widget.id = 'gpucamp-ddp';
      widget.title.label = trans.__('Launch DDP');
      widget.title.icon = ddpIcon;
      await forms.add(widget);
      app.shell.add(widget, 'main');
      app.shell.activateById(widget.id);
      prepare(model);
      void model.load();
      void held.refresh();
      return widget;
    };

    addCommand(app, trans, palette, CommandIDs.launchDdp, {
      label: trans.__('Launch DDP…'),
      cardLabel: trans.__('Launch DDP'),
      caption: trans.__('Run a training script in several processes at once'),
      icon: ddpIcon,
      args: {
        script: { type: 'string', description: 'The script, relative to the Jupyter root' },
        from: {
          type: 'string',
          enum: ['file-browser'],
          description: 'Take the script that is selected in the file browser'
        }
      },
      execute: async args => {
        const given = typeof args['script'] === 'string' ? serverPath(args['script']) : null;
        const script =
          given ?? (args['from'] === 'file-browser' ? selectedScript() : await editedScript());
        if (script !== null) {
          await saveIfOpen(script);
        }
        return openForm(model => {
          if (script?.endsWith('.ipynb')) {
            void model.useNotebook(script);
          } else if (script !== null) {
            model.edit({ script, module: false });
          }
        });
      }
    });

    app.commands.addCommand(CommandIDs.openRun, {
      label: trans.__('Show a DDP run'),
      describedBy: {
        args: {
          type: 'object',
          properties: { id: { type: 'string', description: 'The id of the run' } },
          required: ['id']
        }
      },
      execute: args => {
        const id = args['id'];
        if (typeof id !== 'string') {
          throw new Error('gpucamp:open-run needs the id of a run');
        }
        return openRun(id);
      }
    });

    if (restorer) {
      void restorer.restore(forms, { command: CommandIDs.launchDdp, name: () => 'form' });
      void restorer.restore(runs, {
        command: CommandIDs.openRun,
        args: widget => ({ id: widget.content.model.id }),
        name: widget => widget.content.model.id
      });
    }
  }
};
