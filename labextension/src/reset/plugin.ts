import {
  ILabStatus,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  Notification,
  showDialog,
  showErrorMessage
} from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { ApiError, describeError } from '../errors';
import { resetIcon } from '../icons';
import { confirmReset } from './dialog';
import { progressAddress } from './summary';

/** "Reset environment" and its undo. */
export const resetPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:reset',
  description: 'Gives a fresh environment, or the one before the last reset',
  autoStart: true,
  optional: [ITranslator, ICommandPalette, ILabStatus],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    labStatus: ILabStatus | null
  ): void => {
    const language = translator ?? nullTranslator;
    const trans = language.load('gpucamp');
    const api = new Api(app.serviceManager.serverSettings, language.languageCode);
    let busy = false;

    /** Saves all documents. True where nothing unsaved is left, or the person gives it up. */
    const saved = async (): Promise<boolean> => {
      if (app.commands.hasCommand('docmanager:save-all')) {
        await app.commands.execute('docmanager:save-all').catch((error: unknown) => {
          console.warn('Not all documents were saved', error);
        });
      }
      if (!labStatus?.isDirty) {
        return true;
      }
      const answer = await showDialog({
        title: trans.__('Some documents are not saved'),
        body: trans.__('Their unsaved changes are lost with the reset.'),
        buttons: [
          Dialog.cancelButton({ label: trans.__('Cancel') }),
          Dialog.warnButton({ label: trans.__('Reset all the same') })
        ],
        defaultButton: 0
      });
      return answer.button.accept;
    };

    const leaveFor = (url: string): void => {
      const address = progressAddress(url, window.location.href);
      if (address === null) {
        throw new Error(`Not an address: ${url}`);
      }
      // The server is going to stop and everything is saved: "leave this page?" would only strand the reader here.
      window.addEventListener('beforeunload', event => event.stopImmediatePropagation(), {
        capture: true
      });
      window.location.assign(address);
    };

    /** A failed request in words: a refusal changed nothing, a lost reply says nothing about that. */
    const failure = (error: unknown): string => {
      const text = describeError(error, trans);
      if (!(error instanceof ApiError) || error.status < 400) {
        return `${text} ${trans.__('It may have begun all the same: wait a minute, then reload this page.')}`;
      }
      return error.status < 500 ? `${text} ${trans.__('Nothing was changed.')}` : text;
    };

    /** Saves, asks the server, and leads to the page that shows the progress. */
    const change = async (undo: boolean): Promise<void> => {
      if (!(await saved())) {
        return;
      }
      const notice = Notification.emit(
        undo ? trans.__('Bringing the old environment back…') : trans.__('Resetting…'),
        'in-progress',
        { autoClose: false }
      );
      try {
        leaveFor((await api.reset(undo)).progress_url);
      } catch (error) {
        Notification.dismiss(notice);
        await showErrorMessage(
          undo ? trans.__('Undo last reset') : trans.__('Reset environment'),
          failure(error),
          [Dialog.okButton({ label: trans.__('Close') })]
        );
      }
    };

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
      execute: () =>
        once(async () => {
          if (await confirmReset(api, trans)) {
            await change(false);
          }
        })
    });

    addCommand(app, trans, palette, CommandIDs.undoReset, {
      label: trans.__('Undo last reset…'),
      caption: trans.__('Bring back the environment that you had before the last reset'),
      execute: () =>
        once(async () => {
          let possible: boolean;
          try {
            possible = (await api.resetPreview()).can_undo;
          } catch (error) {
            await showErrorMessage(trans.__('Undo last reset'), describeError(error, trans), [
              Dialog.okButton({ label: trans.__('Close') })
            ]);
            return;
          }
          if (!possible) {
            await showDialog({
              title: trans.__('Undo last reset'),
              body: trans.__('There is no reset to undo.'),
              buttons: [Dialog.okButton({ label: trans.__('Close') })]
            });
            return;
          }
          const answer = await showDialog({
            title: trans.__('Undo the last reset?'),
            body: trans.__(
              'Your server restarts with the environment that you had before the reset. Kernels and runs are ended. All files in your work folder stay.'
            ),
            buttons: [
              Dialog.cancelButton({ label: trans.__('Cancel') }),
              Dialog.warnButton({ label: trans.__('Save all and undo') })
            ],
            defaultButton: 0
          });
          if (answer.button.accept) {
            await change(true);
          }
        })
    });
  }
};
