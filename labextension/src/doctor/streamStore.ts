import { ApiError, isAbort } from '../errors';
import { Store } from '../store';

/** Attempts before another's work is told as a refusal. */
const ATTEMPTS = 10;

/** What a state has that grows by the events of a stream. */
export interface Streamed {
  phase: 'idle' | 'running' | 'finished' | 'cancelled' | 'failed';
  error: unknown;
}

/** How a stream says why it ends too early. */
export interface StreamError {
  event: 'error';
  status: number;
  message: string;
}

/**
 * A state that follows one stream of the server at a time: a new one ends the one before, and disposing ends all.
 *
 * Guarantees: late events of a stream that was left count no more; what was gathered before a failure or a stop stays;
 * a stream that ends without its result is a failure; that the server is still busy with what was left here is waited
 * for and not told.
 */
export abstract class StreamStore<
  State extends Streamed,
  Event extends { event: string }
> extends Store<State> {
  /**
   * @param retryAfter - milliseconds between two attempts while the server ends what was left
   */
  constructor(
    state: State,
    private readonly retryAfter: number
  ) {
    super(state);
  }

  /** Ends what runs; nothing otherwise. */
  cancel(): void {
    if (this._ending) {
      this._ending.abort();
      this._ending = null;
      this._isLeft = true;
      this._change({ phase: 'cancelled' });
    }
  }

  override dispose(): void {
    this._ending?.abort();
    this._ending = null;
    super.dispose();
  }

  /** The state after an event. */
  protected abstract after(state: State, event: Event): State;

  /**
   * Follows a stream; resolves when it is over, however it ended.
   *
   * @param begin - the state to begin with
   * @param open - asks for the stream; `attempt` counts from 1
   */
  protected async follow(
    begin: State,
    open: (signal: AbortSignal, attempt: number) => AsyncGenerator<Event | StreamError>
  ): Promise<void> {
    this.cancel();
    const isLeft = this._isLeft;
    this._isLeft = false;
    const ending = new AbortController();
    this._ending = ending;
    this.set(begin);
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await this._hear(open(ending.signal, attempt), ending);
          break;
        } catch (error) {
          const isBusy = error instanceof ApiError && error.status === 409;
          if (!isLeft || !isBusy || attempt === ATTEMPTS || this._ending !== ending) {
            throw error;
          }
          await new Promise(resolve => setTimeout(resolve, this.retryAfter));
        }
      }
    } catch (error) {
      if (this._ending === ending) {
        this._change(isAbort(error) ? { phase: 'cancelled' } : { phase: 'failed', error });
      }
    } finally {
      if (this._ending === ending) {
        this._ending = null;
      }
    }
  }

  private async _hear(
    events: AsyncGenerator<Event | StreamError>,
    ending: AbortController
  ): Promise<void> {
    for await (const event of events) {
      if (this._ending !== ending) {
        return;
      }
      if (isError(event)) {
        throw new ApiError('refused', event.message, event.status);
      }
      const next = this.after(this.state, event);
      if (next !== this.state) {
        this.set(next);
      }
    }
    if (this._ending === ending && this.state.phase === 'running') {
      // It ended without a result: its other end is gone.
      throw new ApiError('network', '');
    }
  }

  private _change(change: Partial<Streamed>): void {
    this.set(change as Partial<State>);
  }

  private _ending: AbortController | null = null;
  /** Whether the server may still be busy with what was ended here. */
  private _isLeft = false;
}

function isError(event: { event: string }): event is StreamError {
  return event.event === 'error';
}
