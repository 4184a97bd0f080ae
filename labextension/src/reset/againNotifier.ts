/**
 * Tells how the packages are installed that were to be there again after a reset.
 *
 * Guarantees: there is one notification, which says package by package what is done and, at the end, what failed and
 * why; the server forgets the report once that was told, or, where something failed, taken away; a server that does
 * not answer is asked again.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IApi } from '../api';
import { ApiError } from '../errors';
import type { InstallAgain, PackageAgain } from '../wire';

const EVERY_MS = 1500;
/** How often a server that does not answer is asked in a row, each time after twice as long. */
const ATTEMPTS = 8;

export interface IAgainNotices {
  /** Shows it, or what it says from now on. */
  show(text: string, kind: 'in-progress' | 'success' | 'warning', details: () => void): void;
  /** `listener` is called when it is taken away. */
  onRemoved(listener: () => void): void;
}

export interface IAgainOptions {
  api: Pick<IApi, 'installAgain' | 'forgetInstallAgain'>;
  notices: IAgainNotices;
  /** Shows what became of each. */
  explain: (lines: string[]) => void;
  trans: TranslationBundle;
  everyMs?: number;
}

export class AgainNotifier {
  constructor(private readonly options: IAgainOptions) {
    options.notices.onRemoved(() => void this._forget());
  }

  /** Follows it to its end; never rejects. */
  async follow(): Promise<void> {
    const { api, everyMs } = this.options;
    for (let failures = 0; failures < ATTEMPTS;) {
      try {
        const report = await api.installAgain();
        failures = 0;
        if (report.state === 'none') {
          return;
        }
        this._show(report);
        if (report.state === 'done') {
          if (!anyFailed(report)) {
            await this._forget();
          }
          return;
        }
      } catch (error) {
        if (error instanceof ApiError && error.status >= 400 && error.status < 500) {
          return; // no such thing, or for its owner only
        }
        failures += 1;
      }
      await new Promise(resolve => setTimeout(resolve, (everyMs ?? EVERY_MS) * 2 ** failures));
    }
  }

  private _show(report: InstallAgain): void {
    const { notices, explain, trans } = this.options;
    const details = (): void => explain(report.packages.map(one => againLine(one, trans)));
    const text = againText(report, trans);
    this._isDone = report.state === 'done';
    const kind = !this._isDone ? 'in-progress' : anyFailed(report) ? 'warning' : 'success';
    const shown = `${kind} ${text}`;
    if (shown !== this._shown) {
      this._shown = shown;
      notices.show(text, kind, details);
    }
  }

  private async _forget(): Promise<void> {
    if (this._isDone) {
      this._isDone = false;
      // Where it does not work, it is told again after a reload.
      await this.options.api.forgetInstallAgain().catch((error: unknown) => {
        console.warn('The report of what was installed again stays', error);
      });
    }
  }

  private _shown = '';
  private _isDone = false;
}

function anyFailed(report: InstallAgain): boolean {
  return report.packages.some(one => one.state === 'failed');
}

/** How far it is, in a sentence. */
export function againText(report: InstallAgain, trans: TranslationBundle): string {
  const { packages } = report;
  const installed = packages.filter(one => one.state === 'installed').length;
  const failed = packages.filter(one => one.state === 'failed');
  if (report.state !== 'done') {
    const now = packages.find(one => one.state === 'installing');
    const text = trans.__(
      'Installing packages again: %1 of %2 done',
      installed + failed.length,
      packages.length
    );
    return now ? trans.__('%1, now %2', text, now.name) : text;
  }
  const [first, ...more] = failed;
  if (!first) {
    return trans._n(
      '%1 package is installed again.',
      '%1 packages are installed again.',
      installed
    );
  }
  return more.length === 0
    ? trans.__(
        '%1 of %2 packages are installed again. Not installed: %3.',
        installed,
        packages.length,
        first.name
      )
    : trans.__(
        '%1 of %2 packages are installed again. Not installed: %3 and %4 more.',
        installed,
        packages.length,
        first.name,
        more.length
      );
}

/** What became of a package, with the reason where it failed. */
export function againLine(one: PackageAgain, trans: TranslationBundle): string {
  const name = one.version ? `${one.name} ${one.version}` : one.name;
  switch (one.state) {
    case 'waiting':
      return trans.__('%1: waits', name);
    case 'installing':
      return trans.__('%1: is being installed', name);
    case 'installed':
      return trans.__('%1: installed', name);
    case 'failed':
      return one.why
        ? trans.__('%1: not installed. %2', name, one.why)
        : trans.__('%1: not installed', name);
  }
}
