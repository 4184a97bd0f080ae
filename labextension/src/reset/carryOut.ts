/**
 * Does what was agreed to in the dialogs, apart from JupyterLab.
 *
 * Guarantees: nothing begins before all documents are saved or their changes are given up; no run is ended that was
 * not agreed to; the environment is not changed while a file that was to be moved was not, unless that is agreed to,
 * too; a refusal and a lost reply are told as what they are.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { IApi } from '../api';
import { isAlive } from '../ddp/runText';
import { ApiError, describeError } from '../errors';
import { bytesText } from '../statusText';
import type { MovedFiles, ResetWish, RestartedKernels } from '../wire';
import type { Agreed } from './model';
import type { AgreedUndo } from './undoDialog';

/** How often it is asked whether runs have ended, and every how many milliseconds. */
const LOOKS = 30;
const EVERY_MS = 500;
/** In how many requests files are moved at most: a copy of gigabytes takes minutes, and it is told which one it is. */
const MOST_MOVES = 50;

/** What says that something goes on. */
export interface IProgress {
  say(text: string): void;
  end(): void;
}

/** What is asked of JupyterLab. */
export interface ILab {
  /** Saves all documents. True where nothing unsaved is left, or the person gives it up. */
  save(): Promise<boolean>;
  /** Gives the server the layout as it is. Never rejects. */
  saveLayout(): Promise<void>;
  progress(text: string): IProgress;
  /** A question with reasons, one a line. */
  ask(title: string, lines: string[], accept: string): Promise<boolean>;
  /** Says that something did not work. */
  failed(title: string, text: string): Promise<void>;
  told(text: string, isGood: boolean): void;
  /** Goes to the page that shows how the operation goes. Throws where it is none. */
  leaveFor(url: string): void;
}

export type CarryOutApi = Pick<
  IApi,
  'reset' | 'restartKernels' | 'removePackages' | 'moveToWork' | 'moving' | 'ddpRuns' | 'ddpStop'
>;

export class CarryOut {
  constructor(
    private readonly api: CarryOutApi,
    private readonly lab: ILab,
    private readonly trans: TranslationBundle,
    private readonly everyMs = EVERY_MS
  ) {}

  /** Does one of the three. */
  async reset(agreed: Agreed): Promise<void> {
    const { trans } = this;
    switch (agreed.choice) {
      case 'kernels':
        return this._do(trans.__('Restart kernels'), trans.__('Restarting kernels…'), async () =>
          this._tellKernels([], await this.api.restartKernels())
        );
      case 'packages':
        return this._do(
          trans.__('Remove what I installed'),
          trans.__('Removing packages…'),
          async () => {
            const { removed, kernels } = await this.api.removePackages();
            const text = trans._n('%1 package is removed.', '%1 packages are removed.', removed);
            this._tellKernels([text], kernels);
          }
        );
      case 'new':
        return this._do(
          trans.__('Reset environment'),
          trans.__('Resetting…'),
          async notice =>
            (await this._moved(agreed.moves, notice)) &&
            this._change({ undo: false, again: agreed.again }, agreed.runs, notice)
        );
    }
  }

  async undo(agreed: AgreedUndo): Promise<void> {
    const { trans } = this;
    const { generation, runs } = agreed;
    const wish = generation === null ? { undo: true } : { undo: true, generation };
    return this._do(
      trans.__('Undo last reset'),
      trans.__('Bringing the old environment back…'),
      notice => this._change(wish, runs, notice)
    );
  }

  private async _do(
    title: string,
    begins: string,
    work: (notice: IProgress) => Promise<unknown>
  ): Promise<void> {
    if (!(await this.lab.save())) {
      return;
    }
    const notice = this.lab.progress(begins);
    let leaves: unknown = false;
    try {
      leaves = await work(notice);
    } catch (error) {
      notice.end();
      await this.lab.failed(title, this._failure(error));
      return;
    }
    if (leaves !== true) {
      notice.end();
    }
  }

  /** Asks the service for it, and leads there: true. False where it was not agreed to after all. */
  private async _change(wish: ResetWish, runs: number, notice: IProgress): Promise<boolean> {
    if (!(await this._ended(runs, notice))) {
      return false;
    }
    notice.say(
      wish.undo ? this.trans.__('Bringing the old environment back…') : this.trans.__('Resetting…')
    );
    await this.lab.saveLayout();
    this.lab.leaveFor((await this.api.reset(wish)).progress_url);
    return true;
  }

  /** Whether the files are in the work folder now, or are given up. */
  private async _moved(paths: string[], notice: IProgress): Promise<boolean> {
    const { trans } = this;
    const failed: MovedFiles['failed'] = [];
    const together = Math.ceil(paths.length / MOST_MOVES);
    for (let at = 0; at < paths.length; at += together) {
      const some = paths.slice(at, at + together);
      const says = (name: string) =>
        trans.__('Moving to your work folder, %1 of %2: %3', at + 1, paths.length, name);
      notice.say(says(some[0] ?? ''));
      failed.push(...(await this._telling(this.api.moveToWork(some), says, notice)).failed);
    }
    return (
      failed.length === 0 ||
      this.lab.ask(
        trans.__('Some files were not moved'),
        [
          ...failed.map(({ path, why }) => trans.__('%1: %2', path, why)),
          trans.__('They go with the environment, until the reset is undone.')
        ],
        trans.__('Reset all the same')
      )
    );
  }

  /** What a request for moves comes to; until then it is told how much of a large file or folder is copied. */
  private async _telling(
    moves: Promise<MovedFiles>,
    says: (name: string) => string,
    notice: IProgress
  ): Promise<MovedFiles> {
    let ended = false;
    const end = moves.finally(() => (ended = true));
    const tell = async () => {
      const moving = (await this.api.moving().catch(() => null))?.moving;
      if (moving && !ended) {
        const { path, copied_bytes: copied, total_bytes: total } = moving;
        // holes and small files are counted otherwise in a total than in a copy
        const sizes = total ? [bytesText(Math.min(copied, total)), bytesText(total)] : null;
        notice.say(says(sizes ? this.trans.__('%1, %2 of %3', path, ...sizes) : path));
      }
    };
    const timer = setInterval(() => void tell(), this.everyMs);
    try {
      return await end;
    } finally {
      clearInterval(timer);
    }
  }

  /** Ends the runs that go on, so that their records say so. False where more go on than was agreed to. */
  private async _ended(agreed: number, notice: IProgress): Promise<boolean> {
    const { trans } = this;
    let alive = await this._alive();
    if (
      alive.length > agreed &&
      !(await this.lab.ask(
        trans.__('End the DDP runs that go on?'),
        [
          trans._n(
            '%1 DDP run goes on. It ends with the server.',
            '%1 DDP runs go on. They end with the server.',
            alive.length
          )
        ],
        trans.__('End and go on')
      ))
    ) {
      return false;
    }
    if (alive.length > 0) {
      notice.say(trans.__('Ending DDP runs…'));
      await Promise.allSettled(alive.map(id => this.api.ddpStop(id)));
    }
    for (let look = 0; alive.length > 0 && look < LOOKS; look++) {
      await new Promise(resolve => setTimeout(resolve, this.everyMs));
      alive = await this._alive();
    }
    return true; // what does not end by itself ends with the server
  }

  /** The ids of the runs that go on; none where the server does not say. */
  private async _alive(): Promise<string[]> {
    try {
      return (await this.api.ddpRuns()).filter(run => isAlive(run.state)).map(run => run.id);
    } catch (error) {
      console.warn('The runs could not be listed', error);
      return [];
    }
  }

  private _tellKernels(before: string[], kernels: RestartedKernels): void {
    const { trans, lab } = this;
    const { restarted, failed } = kernels;
    const texts = [...before];
    if (restarted.length > 0 || (failed.length === 0 && before.length === 0)) {
      texts.push(
        restarted.length > 0
          ? trans._n('%1 kernel is restarted.', '%1 kernels are restarted.', restarted.length)
          : trans.__('No kernel is running.')
      );
    }
    if (failed.length > 0) {
      texts.push(
        trans._n(
          '%1 kernel did not restart: shut it down in its notebook.',
          '%1 kernels did not restart: shut them down in their notebooks.',
          failed.length
        )
      );
    }
    lab.told(texts.join(' '), failed.length === 0);
  }

  /** A failed request in words: a refusal changed nothing, a lost reply says nothing about that. */
  private _failure(error: unknown): string {
    const { trans } = this;
    const text = describeError(error, trans);
    if (!(error instanceof ApiError) || error.status < 400) {
      return `${text} ${trans.__('It may have begun all the same: wait a minute, then reload this page.')}`;
    }
    return error.status < 500 ? `${text} ${trans.__('Your environment was not changed.')}` : text;
  }
}
