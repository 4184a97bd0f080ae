/**
 * Suggests the doctor where something broke that the person did not do.
 *
 * Guarantees: one suggestion for each kernel session and each device of a lease, in all tabs together and over
 * reloads; none while the setting is off; none in a tab that nobody sees before it is seen; one about a device goes
 * when the device is well again.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { INotifications } from '../lease/notifier';
import type { Told } from '../lease/told';
import type { LeaseView } from '../wire';

/** JupyterLab cuts what is longer. */
const LONGEST_NAME = 40;

/** What broke. `kernel`: the name of its spec, null where it is not known; `name`: of the document or console. */
export type Cause =
  | { kind: 'died'; session: string; kernel: string | null; name: string }
  | { kind: 'not-started'; kernel: string | null; name: string }
  | { kind: 'device'; lease: string; uuid: string };

export interface ISuggesterOptions {
  notifications: INotifications;
  told: Told;
  /** Whether somebody may see the page. */
  isVisible: () => boolean;
  /** Whether the person wants suggestions. */
  isWanted: () => Promise<boolean>;
  /** Opens the doctor for the kernel spec of this name; null: for the one in front. */
  examine: (kernel: string | null) => void;
  trans: TranslationBundle;
}

export class Suggester {
  constructor(private readonly options: ISuggesterOptions) {}

  /** Suggests the doctor for this, unless it was done before; waits until the page is seen. */
  async suggest(cause: Cause): Promise<void> {
    const { told, isVisible, isWanted } = this.options;
    const key = keyOf(cause);
    if (!(await isWanted())) {
      return;
    }
    if (!isVisible()) {
      this._waiting.set(key, cause);
      return;
    }
    this._waiting.delete(key);
    if (await told.claim(key)) {
      this._shown.set(key, this._emit(cause));
    }
  }

  /** To be called when the page is seen again. */
  async catchUp(): Promise<void> {
    await Promise.all([...this._waiting.values()].map(cause => this.suggest(cause)));
  }

  /** A kernel of this spec works: if it does not start one day, that is news. */
  kernelWorks(kernel: string): void {
    this._forget(key => key === keyOf({ kind: 'not-started', kernel, name: '' }));
  }

  /** The lease as the service tells it now. */
  async lease(view: LeaseView | null): Promise<void> {
    if (!view?.mine || view.state !== 'known') {
      return;
    }
    const { lease } = view;
    this.options.told.forget(key => isOfAnotherLease(key, lease?.id));
    const ill = (lease?.devices ?? []).filter(device => device.state !== 'healthy');
    const causes = ill.map(({ uuid }): Cause => ({ kind: 'device', lease: lease?.id ?? '', uuid }));
    const hold = new Set(causes.map(keyOf));
    this._withdraw(key => key.startsWith('device/') && !hold.has(key));
    await Promise.all(causes.map(cause => this.suggest(cause)));
  }

  private _emit(cause: Cause): string {
    const { notifications, examine, trans } = this.options;
    return notifications.emit(textOf(cause, trans), 'warning', {
      autoClose: false,
      actions: [
        {
          label: trans.__('Examine'),
          displayType: 'accent',
          callback: () => examine(cause.kind === 'device' ? null : cause.kernel)
        }
      ]
    });
  }

  private _forget(isOver: (key: string) => boolean): void {
    this._withdraw(isOver);
    this.options.told.forget(isOver);
  }

  private _withdraw(isOver: (key: string) => boolean): void {
    for (const key of [...this._waiting.keys()].filter(isOver)) {
      this._waiting.delete(key);
    }
    for (const [key, id] of this._shown) {
      if (isOver(key)) {
        this._shown.delete(key);
        this.options.notifications.dismiss(id);
      }
    }
  }

  private _waiting = new Map<string, Cause>();
  /** Notifications by key. */
  private _shown = new Map<string, string>();
}

/** Names it, so that it can be remembered that it was told. */
export function keyOf(cause: Cause): string {
  switch (cause.kind) {
    case 'died':
      return `died/${cause.session}`;
    case 'not-started':
      return `not-started/${cause.kernel ?? ''}`;
    case 'device':
      return `device/${cause.lease}/${cause.uuid}`;
  }
}

function isOfAnotherLease(key: string, lease: string | undefined): boolean {
  return key.startsWith('device/') && !(lease && key.startsWith(`device/${lease}/`));
}

function textOf(cause: Cause, trans: TranslationBundle): string {
  switch (cause.kind) {
    case 'died':
      return trans.__(
        'The kernel of %1 has died more than once. GPU doctor can find out why.',
        short(cause.name)
      );
    case 'not-started':
      return trans.__(
        'The kernel of %1 did not start. GPU doctor can find out why.',
        short(cause.name)
      );
    case 'device':
      return trans.__(
        'Your GPU is not in order. GPU doctor says what still works, and what to do.'
      );
  }
}

function short(name: string): string {
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
}
