import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import { apply, begin, Examination, NO_EXAMINATION, ofReport } from './examination';

/**
 * Runs examinations, one at a time: a new one ends the one before, and disposing ends all. What was found before a
 * failure or a stop stays in view.
 */
export class DoctorModel extends Store<Examination> {
  /**
   * @param api - the server
   * @param kernel - the name of the kernel spec to examine
   */
  constructor(
    private readonly api: IApi,
    private _kernel: string
  ) {
    super({ ...NO_EXAMINATION, kernel: _kernel });
  }

  get kernel(): string {
    return this._kernel;
  }

  /** Examines `kernel`; resolves when that is over, however it ended. */
  async examine(kernel: string = this._kernel): Promise<void> {
    this.cancel();
    const ending = new AbortController();
    this._ending = ending;
    this._kernel = kernel;
    this.set(begin(kernel));
    try {
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

  /** Shows the server's last report, or examines where there is none (or it cannot be had). */
  async resume(): Promise<void> {
    try {
      const report = await this.api.lastReport();
      if (this.state.phase === 'idle') {
        this._kernel = report.kernel;
        this.set(ofReport(report));
      }
    } catch {
      if (this.state.phase === 'idle' && !this.isDisposed) {
        await this.examine();
      }
    }
  }

  /** Ends a running examination; nothing otherwise. */
  cancel(): void {
    if (this._ending) {
      this._ending.abort();
      this._ending = null;
      this.set({ phase: 'cancelled' });
    }
  }

  override dispose(): void {
    this._ending?.abort();
    this._ending = null;
    super.dispose();
  }

  private _ending: AbortController | null = null;
}
