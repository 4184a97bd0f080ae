/**
 * Tells what asks for an answer: that the lease ends, that an idle GPU is taken back, and what happened to the server.
 *
 * Guarantees: an end is told once for each threshold (see warnings.ts) in all tabs together, the idle warning and a
 * notice once in each tab while they hold; nothing is told in a tab that nobody sees before it is seen; what does not
 * hold any more is taken away; a notice that was taken away is marked read, but never one before it that was not.
 */
import type { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Notice } from '../wire';
import type { LeaseModel } from './model';
import { durationText, timeOf, wallClock } from './texts';
import type { Told } from './told';
import { dueWarning } from './warnings';

/** JupyterLab cuts what is longer. */
const LONGEST = 140;

/** Of notices that are no warnings. */
const TYPES: Readonly<Record<string, Notification.TypeOptions>> = {
  device_back: 'success',
  message: 'info'
};

/** What is used of JupyterLab's notifications. */
export interface INotifications {
  emit(
    message: string,
    type: Notification.TypeOptions,
    options: { autoClose: number | false; actions?: Notification.IAction[] }
  ): string;
  dismiss(id: string): void;
  /** `listener` gets the id of each that is taken away, by whoever it is. */
  onRemoved(listener: (id: string) => void): void;
}

export interface INotifierOptions {
  model: LeaseModel;
  notifications: INotifications;
  told: Told;
  /** Whether somebody may see the page. */
  isVisible: () => boolean;
  /** Wishes more time, and says what came of it. */
  extend: () => void;
  /** Says that the GPU is in use, and what came of it. */
  keep: () => void;
  explain: () => void;
  showText: (text: string) => void;
  trans: TranslationBundle;
  language: string;
}

export class Notifier {
  constructor(private readonly options: INotifierOptions) {
    options.notifications.onRemoved(id => this._removed(id));
    options.model.stateChanged.connect(() => void this.update());
  }

  /** Brings what is shown in line with what holds. */
  async update(): Promise<void> {
    const { view } = this.options.model.state;
    if (!view?.mine) {
      return;
    }
    this._dropWhatIsOver();
    if (!this.options.isVisible()) {
      return;
    }
    this._tellNotices(view.notices);
    this._tellIdle();
    await this._tellEnd(view.warn_minutes);
  }

  private _dropWhatIsOver(): void {
    const { model } = this.options;
    const lease = model.lease;
    const left = model.left();
    if (this._end && (this._end.of !== lease?.expires_at || left === null || left <= 0)) {
      this._drop(this._end.id);
      this._end = null;
    }
    if (this._idle && this._idle.of !== idleKey(lease)) {
      this._drop(this._idle.id);
      this._idle = null;
    }
    const unread = new Set(model.state.view?.notices.map(notice => notice.id));
    for (const [id, number] of this._notices) {
      if (!unread.has(number)) {
        this._notices.delete(id);
        this._drop(id); // read elsewhere
      }
    }
  }

  private async _tellEnd(thresholds: readonly number[]): Promise<void> {
    const { model, told, trans, language } = this.options;
    const lease = model.lease;
    const due = lease && dueWarning(lease, model.left(), thresholds);
    if (!due || !(await told.claim(due.key))) {
      return;
    }
    told.keepOnly(`${lease.id}/`);
    if (this.options.model.lease?.expires_at !== lease.expires_at) {
      return; // extended while this was settled with the other tabs
    }
    const left = model.left() ?? 0;
    const end = timeOf(lease.expires_at) ?? 0;
    if (this._end) {
      this._drop(this._end.id);
    }
    const id = this._emit(
      trans.__(
        'Your GPU lease ends in %1, at %2. Save your work.',
        durationText(left, trans),
        wallClock(end, model.now(), language)
      ),
      'warning',
      [
        ...(lease.can_extend
          ? [action(trans.__('Extend'), this.options.extend, { accent: true })]
          : []),
        this._explain()
      ]
    );
    this._end = { id, of: lease.expires_at };
  }

  private _tellIdle(): void {
    const { model, trans, language } = this.options;
    const key = idleKey(model.lease);
    const at = timeOf(model.lease?.reclaim_at);
    if (key === null || at === null || this._idle?.of === key) {
      return;
    }
    const id = this._emit(
      trans.__(
        'Your GPU does nothing and others wait: it will be taken back at %1.',
        wallClock(at, model.now(), language)
      ),
      'warning',
      [action(trans.__('I am using it'), this.options.keep, { accent: true }), this._explain()]
    );
    this._idle = { id, of: key };
  }

  private _tellNotices(notices: readonly Notice[]): void {
    const { trans } = this.options;
    for (const notice of notices) {
      if (this._told.has(notice.id)) {
        continue;
      }
      this._told.add(notice.id);
      const actions = [
        // The cross of a notification only hides it: it stays in JupyterLab's list, unread.
        action(trans.__('Got it'), () => undefined),
        ...(notice.text.length > LONGEST
          ? [
              action(trans.__('Read all'), () => this.options.showText(notice.text), {
                stays: true
              })
            ]
          : [])
      ];
      const type = TYPES[notice.kind] ?? 'warning';
      this._notices.set(this._emit(notice.text, type, actions), notice.id);
    }
  }

  private _removed(id: string): void {
    if (this._end?.id === id) {
      this._end = null;
    }
    const number = this._notices.get(id);
    if (number === undefined) {
      return;
    }
    this._notices.delete(id);
    this._read.add(number);
    const open = Math.min(...this._notices.values());
    const upTo = Math.max(...[...this._read].filter(one => one < open));
    if (Number.isFinite(upTo)) {
      // Where it does not work, the notice is told again after a reload.
      this.options.model.read(upTo).catch((error: unknown) => {
        console.warn('A notice could not be marked as read', error);
      });
    }
  }

  private _explain(): Notification.IAction {
    return action(this.options.trans.__('What happens then?'), this.options.explain, {
      stays: true
    });
  }

  private _emit(
    message: string,
    type: Notification.TypeOptions,
    actions: Notification.IAction[]
  ): string {
    return this.options.notifications.emit(message, type, { autoClose: false, actions });
  }

  private _drop(id: string): void {
    this.options.notifications.dismiss(id);
  }

  private _end: { id: string; of: string | null } | null = null;
  private _idle: { id: string; of: string } | null = null;
  /** Of this tab: shown now, by their notification; ever shown; taken away. */
  private _notices = new Map<string, number>();
  private _told = new Set<number>();
  private _read = new Set<number>();
}

function idleKey(lease: LeaseModel['lease']): string | null {
  return lease?.reclaim_at ? `${lease.id}/${lease.reclaim_at}` : null;
}

/** @param how - `stays`: the notification does, too; otherwise it goes with the click */
function action(
  label: string,
  work: () => void,
  how: { accent?: boolean; stays?: boolean } = {}
): Notification.IAction {
  return {
    label,
    displayType: how.accent ? 'accent' : 'default',
    callback: event => {
      if (how.stays) {
        event.preventDefault();
      }
      work();
    }
  };
}
