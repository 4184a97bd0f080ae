import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Token } from '@lumino/coreutils';
import { Poll } from '@lumino/polling';
import * as React from 'react';

import { Api } from '../api';
import { addCommand, CommandIDs } from '../commands';
import { describeError } from '../errors';
import { askForHelp } from './hand';
import { LeaseModel } from './model';
import { type INotifications, Notifier } from './notifier';
import { timeOf, wallClock, whatHappensThen } from './texts';
import { Told } from './told';

const EVERY_MS = 20_000;
const LONGEST_WAIT_MS = 5 * 60_000;
const GOOD_NEWS_MS = 8_000;

/** The lease of this server, for the status bar. */
export const ILease = new Token<LeaseModel>(
  'gpucamp:ILease',
  'The GPU lease of this server, as the gpucamp service tells it.'
);

/** Asks how long the lease lasts, warns before it ends, and extends it. */
export const leasePlugin: JupyterFrontEndPlugin<LeaseModel> = {
  id: 'gpucamp:lease',
  description: 'Follows the GPU lease of this server, warns before its end and extends it',
  autoStart: true,
  provides: ILease,
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ): LeaseModel => {
    const chosen = translator ?? nullTranslator;
    const trans = chosen.load('gpucamp');
    const language = chosen.languageCode;
    const { serverSettings } = app.serviceManager;
    const model = new LeaseModel(new Api(serverSettings, language));

    const poll = new Poll({
      name: 'gpucamp:lease',
      frequency: { interval: EVERY_MS, backoff: true, max: LONGEST_WAIT_MS },
      standby: 'when-hidden',
      factory: () => model.ask()
    });

    const clock = (iso: string | null | undefined): string => {
      const time = timeOf(iso);
      return time === null ? '?' : wallClock(time, model.now(), language);
    };

    const tellFailure = (): void => {
      Notification.emit(describeError(model.state.error, trans), 'error', { autoClose: false });
    };

    const extend = async (): Promise<void> => {
      if (model.state.busy) {
        return;
      }
      if (!(await model.extend())) {
        tellFailure();
      } else {
        Notification.emit(
          trans.__('Your GPU lease now ends at %1.', clock(model.lease?.expires_at)),
          'success',
          { autoClose: GOOD_NEWS_MS }
        );
      }
    };

    const keep = async (): Promise<void> => {
      if (model.state.busy) {
        return;
      }
      if (!(await model.keep())) {
        tellFailure();
      } else {
        const end = model.lease?.expires_at;
        Notification.emit(
          end
            ? trans.__('Your GPU stays yours until %1.', clock(end))
            : trans.__('Your GPU stays yours.'),
          'success',
          { autoClose: GOOD_NEWS_MS }
        );
      }
    };

    const explain = async (): Promise<void> => {
      const { view } = model.state;
      const lease = view?.lease;
      if (!lease) {
        return;
      }
      const end = clock(lease.reclaim_at ?? lease.expires_at);
      const offer = lease.reclaim_at
        ? { label: trans.__('I am using it'), work: keep }
        : lease.can_extend
          ? { label: trans.__('Extend'), work: extend }
          : null;
      const answer = await showDialog({
        title: trans.__('What happens then?'),
        body: ReactWidget.create(
          React.createElement(
            'div',
            { className: 'gpucamp-Explanation' },
            whatHappensThen(view, end, trans).map(text =>
              React.createElement('p', { key: text }, text)
            )
          )
        ),
        buttons: [
          Dialog.cancelButton({ label: trans.__('Close') }),
          ...(offer ? [Dialog.okButton({ label: offer.label })] : [])
        ]
      });
      if (offer && answer.button.accept) {
        await offer.work();
      }
    };

    const notifier = new Notifier({
      model,
      notifications: labNotifications,
      told: new Told(pageStorage(), `gpucamp:told:${serverSettings.baseUrl}:`),
      isVisible: () => !document.hidden,
      extend: () => void extend(),
      keep: () => void keep(),
      explain: () => void explain(),
      showText: text =>
        void showDialog({
          title: trans.__('GPU'),
          body: text,
          buttons: [Dialog.okButton({ label: trans.__('Close') })]
        }),
      trans,
      language
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) {
        void poll.refresh();
        void notifier.update();
      }
    });

    addCommand(app, trans, palette, CommandIDs.extendLease, {
      label: trans.__('Extend the GPU lease'),
      caption: trans.__('Ask for more time with your GPU'),
      execute: extend
    });
    addCommand(app, trans, palette, CommandIDs.askForHelp, {
      label: trans.__('Ask for Help…'),
      caption: trans.__('Raise your hand, or lower it: your instructors see it'),
      execute: () =>
        askForHelp(model, trans, language, (text, isGood) =>
          Notification.emit(text, isGood ? 'success' : 'error', {
            autoClose: isGood && GOOD_NEWS_MS
          })
        )
    });
    return model;
  }
};

/** JupyterLab's notifications. */
export const labNotifications: INotifications = {
  emit: (message, type, options) => Notification.emit(message, type, options),
  dismiss: id => Notification.dismiss(id),
  onRemoved: listener => {
    Notification.manager.changed.connect((_, change) => {
      if (change.type === 'removed') {
        listener(change.notification.id);
      }
    });
  }
};

/** What this browser keeps for the page; null where it may not. */
export function pageStorage(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null; // the browser forbids it
  }
}
