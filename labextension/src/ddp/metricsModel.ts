import type { IApi } from '../api';
import { Store } from '../store';
import type { RunMetrics, MetricSeries, Run, TrackerState } from '../wire';
import { Looking } from './looking';

export interface MetricsState {
  series: MetricSeries[];
  trackers: TrackerState[];
  error: unknown;
  /** Runs to compare with: of the same script, newest first. */
  others: Run[];
  /** The run that is compared with, and its numbers; null without one. */
  compared: { run: Run; series: MetricSeries[] } | null;
  compareError: unknown;
}

export interface MetricsOptions {
  api: IApi;
  id: string;
  /** Milliseconds between two looks while the run goes on. */
  every?: number;
}

/** How often a log that is longer than one answer is asked for without a pause. */
const MAXIMUM_PARTS = 500;

/** How often what becomes of the trackers is asked for after the end. */
const MAXIMUM_SENDING = 30;

/** The numbers that a run prints, asked for while it goes on and once after its end; beside another run's. */
export class MetricsModel extends Store<MetricsState> {
  constructor(private readonly options: MetricsOptions) {
    super({
      series: [],
      trackers: [],
      error: null,
      others: [],
      compared: null,
      compareError: null
    });
    this._looking = new Looking(
      async signal => {
        const { series, trackers = [] } = await this._whole(options.id, signal);
        if (!signal.aborted) {
          this.set({ series, trackers, error: null });
        }
        return this._isSending() && (!this._looking.over || this._sent++ < MAXIMUM_SENDING);
      },
      error => this.set({ error }),
      options.every
    );
  }

  /** Tells how the run is; begins to look, and looks once more when it is over. */
  runChanged(run: Run): void {
    this._looking.runChanged(run);
  }

  /** Fills the list of runs to compare with. */
  async loadOthers(script: string): Promise<void> {
    try {
      const runs = await this.options.api.ddpRuns();
      this.set({
        others: runs.filter(run => run.script === script && run.id !== this.options.id)
      });
    } catch (compareError) {
      this.set({ compareError });
    }
  }

  /** Draws another run beside this one; none for "". The last choice counts. */
  async compare(id: string): Promise<void> {
    const run = this.state.others.find(other => other.id === id);
    this._chosen = id;
    this.set({ compared: null, compareError: null });
    if (!run) {
      return;
    }
    try {
      const { series } = await this._whole(id);
      if (this._chosen === id) {
        this.set({ compared: { run, series } });
      }
    } catch (compareError) {
      if (this._chosen === id) {
        this.set({ compareError });
      }
    }
  }

  override dispose(): void {
    this._looking.dispose();
    super.dispose();
  }

  private async _whole(id: string, signal?: AbortSignal): Promise<RunMetrics> {
    let answer = await this.options.api.ddpMetrics(id, signal);
    for (let part = 1; !answer.complete && part < MAXIMUM_PARTS && !this._pauses(answer); part++) {
      answer = await this.options.api.ddpMetrics(id, signal);
    }
    return answer;
  }

  /** Whether a tracker has not told yet that it has all. */
  private _isSending(): boolean {
    const { series, trackers } = this.state;
    return trackers.some(
      ({ state }) => state === 'open' || (state === 'waiting' && series.length > 0)
    );
  }

  /** A log that is not there yet is not complete either; that is no reason to ask without a pause. */
  private _pauses(answer: { series: MetricSeries[] }): boolean {
    return answer.series.length === 0 && !this._looking.over;
  }

  private readonly _looking: Looking;
  private _chosen = '';
  private _sent = 0;
}
