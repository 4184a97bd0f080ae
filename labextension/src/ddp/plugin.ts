import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { IEditorTracker } from '@jupyterlab/fileeditor';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { ddpIcon } from '../icons';
import type { Run } from '../wire';
import { serverPath } from './form';
import { LaunchModel } from './launchModel';
import { LaunchPanel } from './launchPanel';
import { RunModel } from './runModel';
import { RunPanel } from './runPanel';
import { type Entry, findScripts } from './scripts';

/** "Launch DDP": the form with the runs so far, and a panel for each run that is looked at. */
export const ddpPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:ddp',
  description: 'Launches a script in several processes and follows the run',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ILayoutRestorer, IFileBrowserFactory, IEditorTracker],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    fileBrowsers: IFileBrowserFactory | null,
    editors: IEditorTracker | null
  ): void => {
    const language = translator ?? nullTranslator;
    const trans = language.load('gpucamp');
    const { contents, serverSettings } = app.serviceManager;
    const api = new Api(serverSettings, language.languageCode);
    const forms = new WidgetTracker<MainAreaWidget<LaunchPanel>>({ namespace: 'gpucamp-ddp' });
    const runs = new WidgetTracker<MainAreaWidget<RunPanel>>({ namespace: 'gpucamp-ddp-run' });

    const listFolder = async (path: string): Promise<Entry[]> => {
      const model = await contents.get(path, { content: true, type: 'directory' });
      return model.content as Entry[];
    };

    const selectedScript = (): string | null => {
      for (const item of fileBrowsers?.tracker.currentWidget?.selectedItems() ?? []) {
        if (item.path.endsWith('.py')) {
          return serverPath(item.path);
        }
      }
      return null;
    };

    /** The script in the editor in front, saved first, so that what runs is what is seen. */
    const editedScript = async (): Promise<string | null> => {
      const editor = editors?.currentWidget;
      if (!editor || editor !== app.shell.currentWidget || !editor.context.path.endsWith('.py')) {
        return null;
      }
      if (editor.context.model.dirty) {
        await editor.context.save();
      }
      return serverPath(editor.context.path);
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
        trans
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
        return open;
      }
      const model = new LaunchModel({ api, scripts: () => findScripts(listFolder) });
      const content = new LaunchPanel(model, run => void openRun(run.id, run), trans);
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
        return openForm(model => {
          if (script !== null) {
            model.edit({ script });
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
