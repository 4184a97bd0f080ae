/**
 * Tells of the end of runs that are wished for.
 *
 * Guarantees: an end is told once in each tab that is open when it is seen, also of a run that another tab, a terminal
 * or another browser started, and of one that ended while no tab was open; nothing is asked of the server while nobody
 * wishes; a server that does not answer is asked again, less and less often.
 */
import type { IApi } from '../api';
import { ApiError } from '../errors';
import type { Run } from '../wire';
import { isAlive } from './runText';
import type { WishChange, Wishes } from './wishes';

const SLOWEST = 12; // times `every`

export interface EndNotifierOptions {
  api: Pick<IApi, 'ddpRun'>;
  wishes: Wishes;
  tell: (run: Run) => void;
  /** Milliseconds between two looks. */
  every?: number;
}

export class EndNotifier {
  constructor(private readonly options: EndNotifierOptions) {
    options.wishes.changed.connect(this._changed, this);
    this._plan(0);
  }

  dispose(): void {
    this._isDisposed = true;
    clearTimeout(this._timer);
    this.options.wishes.changed.disconnect(this._changed, this);
  }

  private _changed(_: Wishes, change: WishChange): void {
    if (change.wished) {
      this._plan(change.here ? (this.options.every ?? 5000) : 0);
    } else if (!change.here) {
      // Told in another tab, which nobody may look at; or taken back there.
      void this._look(change.id);
    }
  }

  private _plan(wait: number): void {
    clearTimeout(this._timer);
    if (!this._isDisposed && this.options.wishes.all().length > 0) {
      this._timer = setTimeout(() => void this._lookAtAll(), wait);
    }
  }

  private async _lookAtAll(): Promise<void> {
    const answers = await Promise.all(this.options.wishes.all().map(id => this._look(id)));
    this._failures = answers.every(Boolean) ? 0 : this._failures + 1;
    const every = this.options.every ?? 5000;
    this._plan(Math.min(every * 2 ** this._failures, every * SLOWEST));
  }

  /** False where the server did not answer. */
  private async _look(id: string): Promise<boolean> {
    const { api, wishes, tell } = this.options;
    let run: Run;
    try {
      run = await api.ddpRun(id);
    } catch (error) {
      if (error instanceof ApiError && error.kind === 'missing') {
        wishes.set(id, false); // its record was deleted
        return true;
      }
      return false;
    }
    if (!isAlive(run.state) && !this._isDisposed && !this._told.has(id)) {
      this._told.add(id);
      wishes.set(id, false);
      tell(run);
    }
    return true;
  }

  private readonly _told = new Set<string>();
  private _failures = 0;
  private _isDisposed = false;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
