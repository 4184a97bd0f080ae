import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type { Report } from '../wire';
import { apply, begin, Examination, NO_EXAMINATION, ofReport } from './examination';

/** Attempts before another's examination is told as a refusal. */
const ATTEMPTS = 10;

/**
 * Runs examinations, one at a time: a new one ends the one before, and disposing ends all.
 *
 * Guarantees: what was found before a failure or a stop stays in view; the last report of the same kernel does, too,
 * until a new one has come; that the server is still busy with the examination that was ended here is waited for and
 * not told.
 */
export class DoctorModel extends Store<Examination> {
  /**
   * @param api - the server
   * @param kernel - the name of the kernel spec to examine
   * @param retryAfter - milliseconds between two attempts while the server ends an examination that was left
   */
  constructor(
    private readonly api: IApi,
    private _kernel: string,
    private readonly retryAfter = 200
  ) {
    super({ ...NO_EXAMINATION, kernel: _kernel });
  }

  /** The kernel to be examined next; what is shown is of `state.kernel`. */
  get kernel(): string {
    return this._kernel;
  }

  /** Chooses the kernel to be examined next. */
  choose(kernel: string): void {
    this._kernel = kernel;
    this.set({});
  }

  /** Examines `kernel`; resolves when that is over, however it ended. */
  async examine(kernel: string = this._kernel): Promise<void> {
    this.cancel();
    const isLeft = this._isLeft;
    this._isLeft = false;
    const ending = new AbortController();
    this._ending = ending;
    this._kernel = kernel;
    this.set(begin(kernel, this.state.report ?? this.state.before));
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await this._follow(kernel, ending);
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
        this.set(isAbort(error) ? { phase: 'cancelled' } : { phase: 'failed', error });
      }
    } finally {
      if (this._ending === ending) {
        this._ending = null;
      }
    }
  }

  /** Examines at once, and shows the last report as soon as it is there and until the new one is. */
  async open(): Promise<void> {
    const over = this.examine();
    const last = await this._last();
    if (last?.kernel === this.state.kernel && this.state.phase !== 'finished') {
      this.set({ before: this.state.before ?? last });
    }
    await over;
  }

  /** Shows the server's last report, or examines where there is none (or it cannot be had). */
  async resume(): Promise<void> {
    const report = await this._last();
    if (this.state.phase !== 'idle' || this.isDisposed) {
      return;
    }
    if (report) {
      this._kernel = report.kernel;
      this.set(ofReport(report));
    } else {
      await this.examine();
    }
  }

  /** Ends a running examination; nothing otherwise. */
  cancel(): void {
    if (this._ending) {
      this._ending.abort();
      this._ending = null;
      this._isLeft = true;
      this.set({ phase: 'cancelled' });
    }
  }

  override dispose(): void {
    this._ending?.abort();
    this._ending = null;
    super.dispose();
  }

  private async _follow(kernel: string, ending: AbortController): Promise<void> {
    for await (const event of this.api.examine(kernel, ending.signal)) {
      if (this._ending !== ending) {
        return;
      }
      if (event.event === 'error') {
        throw new ApiError('refused', event.message, event.status);
      }
      this.set(apply(this.state, event));
    }
    if (this._ending === ending && this.state.phase === 'running') {
      // The stream ended without a report: its other end is gone.
      throw new ApiError('network', '');
    }
  }

  private async _last(): Promise<Report | null> {
    try {
      return await this.api.lastReport();
    } catch {
      return null; // there is none, or it cannot be had: an examination tells why
    }
  }

  private _ending: AbortController | null = null;
  /** Whether the server may still be busy with an examination that was ended here. */
  private _isLeft = false;
}
