import { isAbort } from '../errors';
import type { Run } from '../wire';
import { isAlive } from './runText';

/** Asks something about a run again and again while it goes on, and once after its end. */
export class Looking {
  /**
   * @param ask - must do nothing more once its signal is aborted; says whether to ask again though the run is over
   * @param failed - told of an error, unless it was asked anew meanwhile
   * @param every - milliseconds between an answer and the next question
   */
  constructor(
    private readonly ask: (signal: AbortSignal) => Promise<boolean>,
    private readonly failed: (error: unknown) => void,
    private readonly every = 3000
  ) {}

  /** Whether the run is, as far as was told. */
  over = false;

  /** Tells how the run is. A change that says nothing new asks nothing. */
  runChanged(run: Run): void {
    const over = !isAlive(run.state);
    if (over !== this.over || !this._asking) {
      this.over = over;
      void this._look();
    }
  }

  dispose(): void {
    clearTimeout(this._timer);
    this._asking?.abort();
  }

  private async _look(): Promise<void> {
    this.dispose();
    const asking = new AbortController();
    this._asking = asking;
    const { over } = this;
    let again = false;
    try {
      again = await this.ask(asking.signal);
    } catch (error) {
      if (asking.signal.aborted || isAbort(error)) {
        return;
      }
      this.failed(error);
    }
    if (!asking.signal.aborted && (!over || again)) {
      this._timer = setTimeout(() => void this._look(), this.every);
    }
  }

  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _asking: AbortController | null = null;
}
