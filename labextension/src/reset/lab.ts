import type { ILabStatus, JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, Notification, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IAgainNotices } from './againNotifier';
import type { ILab } from './carryOut';
import { keepPlace } from './returning';
import { progressAddress } from './summary';

const GOOD_NEWS_MS = 8_000;

/** What this tab keeps for the page; null where it may not. */
export function tabStorage(): Storage | null {
  try {
    return window.sessionStorage;
  } catch {
    return null; // the browser forbids it
  }
}

/** Lines to read, in a dialog's body. */
export function linesBody(lines: string[]): ReactWidget {
  return ReactWidget.create(
    React.createElement(
      'div',
      { className: 'gpucamp-Explanation' },
      lines.map((text, at) => React.createElement('p', { key: at }, text))
    )
  );
}

/** JupyterLab as the reset needs it. */
export function labOf(
  app: JupyterFrontEnd,
  labStatus: ILabStatus | null,
  saveLayout: () => Promise<void>,
  trans: TranslationBundle
): ILab {
  const ask = async (title: string, lines: string[], accept: string): Promise<boolean> => {
    const answer = await showDialog({
      title,
      body: linesBody(lines),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.warnButton({ label: accept })
      ],
      defaultButton: 0
    });
    return answer.button.accept;
  };
  return {
    ask,
    save: async () => {
      if (app.commands.hasCommand('docmanager:save-all')) {
        await app.commands.execute('docmanager:save-all').catch((error: unknown) => {
          console.warn('Not all documents were saved', error);
        });
      }
      return (
        !labStatus?.isDirty ||
        ask(
          trans.__('Some documents are not saved'),
          [trans.__('Their unsaved changes may be lost.')],
          trans.__('Go on all the same')
        )
      );
    },
    saveLayout,
    progress: text => {
      const id = Notification.emit(text, 'in-progress', { autoClose: false });
      return {
        say: message => void Notification.update({ id, message }),
        end: () => Notification.dismiss(id)
      };
    },
    failed: (title, text) =>
      showErrorMessage(title, text, [Dialog.okButton({ label: trans.__('Close') })]),
    told: (text, isGood) =>
      void Notification.emit(text, isGood ? 'success' : 'warning', {
        autoClose: isGood && GOOD_NEWS_MS
      }),
    leaveFor: url => {
      const address = progressAddress(url, window.location.href);
      if (address === null) {
        throw new Error(`Not an address: ${url}`);
      }
      keepPlace(tabStorage(), PageConfig.getOption('baseUrl'), window.location.pathname);
      // The server is going to stop and everything is saved: "leave this page?" would only strand the reader here.
      window.addEventListener('beforeunload', event => event.stopImmediatePropagation(), {
        capture: true
      });
      window.location.assign(address);
    }
  };
}

/** One notification that follows what it tells of. */
export function againNotices(trans: TranslationBundle): IAgainNotices {
  let id: string | null = null;
  return {
    show: (message, type, details) => {
      const explain = {
        label: trans.__('Package by package'),
        callback: (event: MouseEvent) => {
          event.preventDefault(); // it stays to be read
          details();
        }
      };
      // The cross of a notification only hides it: it stays in JupyterLab's list.
      const read = { label: trans.__('Got it'), callback: () => undefined };
      const actions = type === 'in-progress' ? [explain] : [explain, read];
      const options = { autoClose: false as const, actions };
      if (id === null || !Notification.manager.has(id)) {
        id = Notification.emit(message, type, options);
      } else {
        Notification.update({ id, message, type, ...options });
      }
    },
    onRemoved: listener => {
      Notification.manager.changed.connect((_, change) => {
        if (change.type === 'removed' && change.notification.id === id) {
          listener();
        }
      });
    }
  };
}
