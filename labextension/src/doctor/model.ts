import type { IApi } from '../api';
import type { RepairEvent, Report } from '../wire';
import { apply, begin, type Examination, isOf, NO_EXAMINATION, ofReport } from './examination';
import { StreamStore } from './streamStore';

/**
 * Runs examinations, one at a time: a new one ends the one before, and disposing ends all.
 *
 * Guarantees: what was found before a failure or a stop stays in view; the last report of the same kernel does, too,
 * until a new one has come.
 */
export class DoctorModel extends StreamStore<Examination, RepairEvent> {
  /**
   * @param api - the server
   * @param kernel - the name of the kernel spec to examine
   * @param retryAfter - milliseconds between two attempts while the server ends an examination that was left
   */
  constructor(
    private readonly api: IApi,
    private _kernel: string,
    retryAfter = 200
  ) {
    super({ ...NO_EXAMINATION, kernel: _kernel }, retryAfter);
  }

  /** The kernel to be examined next; what is shown is of `state.kernel`. */
  get kernel(): string {
    return this._kernel;
  }

  /** The running kernel to be examined next; empty: what the spec would start. */
  get kernelId(): string {
    return this._kernelId;
  }

  /** Chooses the kernel to be examined next: what a spec would start, or one that runs. */
  choose(kernel: string, kernelId = ''): void {
    this._kernel = kernel;
    this._kernelId = kernelId;
    this.set({});
  }

  /**
   * Examines `kernel`; resolves when that is over, however it ended.
   *
   * @param begun - the events of an examination that goes on already, such as the one after a repair
   */
  examine(
    kernel: string = this._kernel,
    begun: AsyncGenerator<RepairEvent> | null = null
  ): Promise<void> {
    const kernelId = kernel === this._kernel ? this._kernelId : '';
    this._kernel = kernel;
    this._kernelId = kernelId;
    return this.follow(
      begin(kernel, this.state.report ?? this.state.before, kernelId),
      (signal, attempt) =>
        attempt === 1 && begun ? begun : this.api.examine(kernel, signal, kernelId)
    );
  }

  /** Examines at once, and shows the last report as soon as it is there and until the new one is. */
  async open(): Promise<void> {
    const over = this.examine();
    const last = await this._last();
    const { kernel, kernelId, phase } = this.state;
    if (last && isOf(last, kernel, kernelId) && phase !== 'finished') {
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
      this._kernelId = report.kernel_id ?? '';
      this.set(ofReport(report));
    } else {
      await this.examine();
    }
  }

  protected override after(state: Examination, event: RepairEvent): Examination {
    // What a repair says is told elsewhere.
    return event.event === 'output' || event.event === 'repaired' ? state : apply(state, event);
  }

  private async _last(): Promise<Report | null> {
    try {
      return await this.api.lastReport();
    } catch {
      return null; // there is none, or it cannot be had: an examination tells why
    }
  }

  private _kernelId = '';
}
