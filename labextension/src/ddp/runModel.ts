import { ISignal, Signal } from '@lumino/signaling';

import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type { Run } from '../wire';
import { LogBuffer } from './logBuffer';
import { isAlive } from './runText';

export interface RunViewState {
  run: Run | null;
  /** Whether the server answers; false while the connection is being made anew. */
  connected: boolean;
  /** Set where there is no more to come: no such run, or signed out. */
  error: unknown;
  stopping: boolean;
  stopError: unknown;
}

export interface RunOptions {
  api: IApi;
  id: string;
  run?: Run;
  /** Milliseconds between two looks at a run that is starting. */
  lookEvery?: number;
  /** Milliseconds between two looks at a run that goes on: whether it hangs. */
  lookForHangEvery?: number;
  /** Milliseconds before the first new attempt after a lost connection; doubled each time, up to 16 times. */
  retryAfter?: number;
}

/**
 * Follows one run: its log from the beginning, through lost connections (each attempt goes on from the last
 * offset, so nothing comes twice), until the server says that it has ended. The run itself never depends on it.
 */
export class RunModel extends Store<RunViewState> {
  constructor(private readonly options: RunOptions) {
    super({
      run: options.run ?? null,
      connected: false,
      error: null,
      stopping: false,
      stopError: null
    });
  }

  readonly log = new LogBuffer();

  /** Emitted for every piece of log; a view gathers several before it draws. */
  get logChanged(): ISignal<this, void> {
    return this._logChanged;
  }

  get id(): string {
    return this.options.id;
  }

  /** Where the whole log is, as a file. */
  get logFile(): string {
    return this.options.api.ddpLogFile(this.id);
  }

  /** Follows to the end; resolves when the run is over, cannot be followed, or this is disposed. */
  async follow(): Promise<void> {
    if (this._following) {
      return;
    }
    const following = new AbortController();
    this._following = following;
    const { api, id } = this.options;
    const first = this.options.retryAfter ?? 500;
    let wait = first;
    this.set({ error: null });
    void this._watch(following.signal);
    while (!following.signal.aborted) {
      try {
        this.set({ run: await api.ddpRun(id, following.signal), connected: true });
        for await (const event of api.ddpLog(id, this._offset, following.signal)) {
          if (event.event === 'end') {
            this.set({ run: event.run, connected: false, stopping: false });
            this._following = null;
            return;
          }
          if (event.event === 'error') {
            throw new ApiError('unavailable', event.message, event.status);
          }
          wait = first;
          this.log.push(event.rank, event.text, event.cut);
          this._offset = event.offset;
          this._logChanged.emit();
        }
        // Ended without an end: the server went away in the middle.
      } catch (error) {
        if (isAbort(error)) {
          break;
        }
        if (
          error instanceof ApiError &&
          (error.kind === 'missing' || error.kind === 'signed-out')
        ) {
          this.set({ error, connected: false });
          this._following = null;
          return;
        }
      }
      this.set({ connected: false });
      await pause(wait, following.signal);
      wait = Math.min(wait * 2, first * 16);
    }
  }

  /** Asks the server to end the run; the log tells when it has. */
  async stop(): Promise<void> {
    if (this.state.stopping || (this.state.run && !isAlive(this.state.run.state))) {
      return;
    }
    this.set({ stopping: true, stopError: null });
    try {
      const run = await this.options.api.ddpStop(this.options.id);
      this.set({ run });
      if (!isAlive(run.state)) {
        this.set({ stopping: false });
      }
    } catch (stopError) {
      this.set({ stopping: false, stopError });
    }
  }

  override dispose(): void {
    this._following?.abort();
    this._following = null;
    super.dispose();
  }

  /** The log tells the end of a run, but not that it has begun, nor that it hangs. */
  private async _watch(signal: AbortSignal): Promise<void> {
    const { api, id, lookEvery = 700, lookForHangEvery = 5000 } = this.options;
    const wait = (): Promise<void> =>
      pause(this.state.run?.state === 'running' ? lookForHangEvery : lookEvery, signal);
    await wait();
    while (this._isToBeWatched(signal)) {
      const run = await api.ddpRun(id, signal).catch(() => null);
      // An end is told by the log, after its last line; what it told meanwhile is newer.
      if (run && isAlive(run.state) && this._isToBeWatched(signal) && !this._isKnown(run)) {
        this.set({ run });
      }
      await wait();
    }
  }

  private _isToBeWatched(signal: AbortSignal): boolean {
    const { run } = this.state;
    return this._following?.signal === signal && (run === null || isAlive(run.state));
  }

  private _isKnown(run: Run): boolean {
    return JSON.stringify(run) === JSON.stringify(this.state.run);
  }

  private _logChanged = new Signal<this, void>(this);
  private _offset = 0;
  private _following: AbortController | null = null;
}

function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(finish, millis);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    }
    signal.addEventListener('abort', finish);
  });
}
