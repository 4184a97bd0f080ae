import {
  apply,
  begin,
  type Measurement,
  NOT_MEASURED,
  ofResult,
  type PerformanceEvent,
  type PerformanceResult
} from './performance';
import { StreamStore } from './streamStore';

/** What measuring asks of the server. */
export interface IPerformanceApi {
  measure(kernel: string, signal: AbortSignal): AsyncGenerator<PerformanceEvent>;
  lastPerformance(signal?: AbortSignal): Promise<PerformanceResult>;
}

/** Measures, one at a time; disposing ends it. */
export class PerformanceModel extends StreamStore<Measurement, PerformanceEvent> {
  /**
   * @param retryAfter - milliseconds between two attempts while the server ends a measurement that was left
   */
  constructor(
    private readonly api: IPerformanceApi,
    retryAfter = 200
  ) {
    super(NOT_MEASURED, retryAfter);
  }

  /** Measures `kernel`; resolves when that is over, however it ended. */
  measure(kernel: string): Promise<void> {
    return this.follow(begin(kernel), signal => this.api.measure(kernel, signal));
  }

  /** Shows the last result of this kernel, where there is one and nothing was measured here. */
  async recall(kernel: string): Promise<void> {
    let last: PerformanceResult;
    try {
      last = await this.api.lastPerformance();
    } catch {
      return; // there is none, or it cannot be had: a measurement tells why
    }
    if (this.state.phase === 'idle' && last.kernel === kernel) {
      this.set(ofResult(last));
    }
  }

  protected override after(state: Measurement, event: PerformanceEvent): Measurement {
    return apply(state, event);
  }
}
