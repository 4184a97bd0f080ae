import type { TranslationBundle } from '@jupyterlab/translation';
import { UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { TestId } from '../testids';
import type { Run } from '../wire';
import type { IBrowserNotices, NoticePermission } from './browserNotices';
import { isAlive } from './runText';
import type { Wishes } from './wishes';

/** What is needed to be told of an end. */
export interface Notify {
  wishes: Wishes;
  browser: IBrowserNotices;
}

/** "Notify me when it ends", with what the browser allows. */
export function NotifyChoice(props: {
  browser: IBrowserNotices;
  wished: boolean;
  wish: (wished: boolean) => void;
  trans: TranslationBundle;
}): React.ReactElement {
  const { browser, wished, trans } = props;
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  const choose = (on: boolean): void => {
    props.wish(on);
    if (on) {
      void browser.ask().then(draw);
    }
  };
  return (
    <div className="gpucamp-Notify">
      <label>
        <input
          type="checkbox"
          checked={wished}
          data-testid={TestId.ddpNotify}
          onChange={event => choose(event.target.checked)}
        />
        {trans.__('Notify me when it ends')}
      </label>
      <span className="gpucamp-Muted" role="status">
        {wished ? whereText(browser.permission(), trans) : ''}
      </span>
    </div>
  );
}

/** The same for a run that goes on. */
export function NotifyOfRun(props: {
  run: Run;
  notify: Notify;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { run, trans } = props;
  const { wishes, browser } = props.notify;
  if (!isAlive(run.state)) {
    return null;
  }
  return (
    <UseSignal signal={wishes.changed}>
      {() => (
        <NotifyChoice
          browser={browser}
          wished={wishes.has(run.id)}
          wish={wished => wishes.set(run.id, wished)}
          trans={trans}
        />
      )}
    </UseSignal>
  );
}

/** Where one is told, and why not elsewhere. */
function whereText(permission: NoticePermission, trans: TranslationBundle): string {
  switch (permission) {
    case 'granted':
      return trans.__('By the browser and in JupyterLab, while a tab of it is open.');
    case 'denied':
      return trans.__(
        "In JupyterLab only: the browser refuses notifications of this page. The browser's settings for this page change that."
      );
    case 'default':
      return trans.__('In JupyterLab only, unless the browser is allowed to notify you.');
    case 'unsupported':
      return trans.__(
        'In JupyterLab only: this browser shows no notifications of this page (they need https).'
      );
  }
}
