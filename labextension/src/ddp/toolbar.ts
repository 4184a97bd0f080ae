import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IToolbarWidgetRegistry, ToolbarButton } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import type { ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import { ddpIcon } from '../icons';

/** The button's name in schema/plugin.json, which says where it stands. */
const NAME = 'gpucamp-launch-ddp';

/** What is needed of an open document. */
interface Document extends Widget {
  readonly context: {
    readonly path: string;
    readonly pathChanged: ISignal<unknown, string>;
  };
}

/** "Launch DDP" in the toolbars of notebooks and of the editor, there for Python files only. */
export const ddpToolbarPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:ddp-toolbar',
  description: 'Puts "Launch DDP" into the toolbars of notebooks and scripts',
  autoStart: true,
  requires: [IToolbarWidgetRegistry],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    toolbars: IToolbarWidgetRegistry,
    translator: ITranslator | null
  ): void => {
    const trans = (translator ?? nullTranslator).load('gpucamp');
    for (const factory of ['Notebook', 'Editor']) {
      toolbars.addFactory<Document>(factory, NAME, widget => {
        const { context } = widget;
        const button = new ToolbarButton({
          icon: ddpIcon,
          tooltip: trans.__('Launch DDP: run it in several processes at once'),
          onClick: () => {
            void app.commands.execute(CommandIDs.launchDdp, { script: context.path });
          }
        });
        const update = (): void => button.setHidden(!/\.(py|ipynb)$/.test(context.path));
        context.pathChanged.connect(update);
        button.disposed.connect(() => context.pathChanged.disconnect(update));
        update();
        return button;
      });
    }
  }
};
