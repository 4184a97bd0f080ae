import {
  ILabStatus,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  IWindowResolver,
  showDialog,
  showErrorMessage
} from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { describeError } from '../errors';
import { resetIcon } from '../icons';
import type { ResetPreview } from '../wire';
import { AgainNotifier } from './againNotifier';
import { CarryOut } from './carryOut';
import { choiceOf, CHOICES } from './choices';
import { askReset } from './dialog';
import { againNotices, labOf, linesBody, tabStorage } from './lab';
import { takePlace } from './returning';
import { askUndo } from './undoDialog';
import { saveWorkspace } from './workspace';

/** "Reset environment", its undo, and what follows them once Lab is back. */
export const resetPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:reset',
  description: 'Restarts kernels, removes packages, gives a fresh environment or an old one',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ILabStatus, IWindowResolver, IStateDB],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    labStatus: ILabStatus | null,
    resolver: IWindowResolver | null,
    state: IStateDB | null
  ): void => {
    const language = translator ?? nullTranslator;
    const trans = language.load('gpucamp');
    const api = new Api(app.serviceManager.serverSettings, language.languageCode);
    const { workspaces } = app.serviceManager;
    const saveLayout = async (): Promise<void> => {
      if (resolver && state) {
        await saveWorkspace(workspaces, resolver, state);
      }
    };
    const carryOut = new CarryOut(api, labOf(app, labStatus, saveLayout, trans), trans);
    let busy = false;

    /** One at a time: a second request while the first asks or works does nothing. */
    const once = async (work: () => Promise<void>): Promise<void> => {
      if (busy) {
        return;
      }
      busy = true;
      try {
        await work();
      } finally {
        busy = false;
      }
    };

    addCommand(app, trans, palette, CommandIDs.resetEnvironment, {
      label: trans.__('Reset environment…'),
      cardLabel: trans.__('Reset environment'),
      caption: trans.__('Get a fresh environment; your work folder stays as it is'),
      icon: resetIcon,
      args: {
        choice: { type: 'string', enum: [...CHOICES], description: 'What is chosen at first' }
      },
      execute: args =>
        once(async () => {
          const agreed = await askReset(api, trans, choiceOf(args['choice']) ?? 'kernels');
          if (agreed) {
            await carryOut.reset(agreed);
          }
        })
    });

    addCommand(app, trans, palette, CommandIDs.undoReset, {
      label: trans.__('Undo last reset…'),
      caption: trans.__('Bring back the environment that you had before the last reset'),
      execute: () =>
        once(async () => {
          const close = [Dialog.okButton({ label: trans.__('Close') })];
          let preview: ResetPreview;
          try {
            preview = await api.resetPreview();
          } catch (error) {
            await showErrorMessage(trans.__('Undo last reset'), describeError(error, trans), close);
            return;
          }
          if (!preview.can_undo) {
            await showDialog({
              title: trans.__('Undo last reset'),
              body: trans.__('There is no reset to undo.'),
              buttons: close
            });
            return;
          }
          const agreed = await askUndo(preview, trans, language.languageCode);
          if (agreed) {
            await carryOut.undo(agreed);
          }
        })
    });

    void app.restored.then(() => {
      const place = takePlace(
        tabStorage(),
        PageConfig.getOption('baseUrl'),
        window.location.pathname
      );
      if (place !== null) {
        window.location.replace(place);
        return;
      }
      const notifier = new AgainNotifier({
        api,
        notices: againNotices(trans),
        explain: lines =>
          void showDialog({
            title: trans.__('Packages installed again'),
            body: linesBody(lines),
            buttons: [Dialog.okButton({ label: trans.__('Close') })]
          }),
        trans
      });
      void notifier.follow();
    });
  }
};
