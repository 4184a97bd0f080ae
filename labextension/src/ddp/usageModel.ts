import type { IApi } from '../api';
import { Store } from '../store';
import type { Run, RunUsage } from '../wire';
import { Looking } from './looking';

export interface UsageState {
  usage: RunUsage | null;
  error: unknown;
  /** Of the run that is compared with; null without one. */
  other: RunUsage | null;
}

export interface UsageOptions {
  api: IApi;
  id: string;
  /** Milliseconds between two looks while the run goes on. */
  every?: number;
}

/** What the ranks and GPUs of a run do over time; beside another run's. */
export class UsageModel extends Store<UsageState> {
  constructor(private readonly options: UsageOptions) {
    super({ usage: null, error: null, other: null });
    this._looking = new Looking(
      async signal => {
        const usage = await options.api.ddpUsage(options.id, signal);
        if (!signal.aborted) {
          this.set({ usage, error: null });
        }
        return false;
      },
      error => this.set({ error }),
      options.every
    );
  }

  /** Tells how the run is; begins to look, and looks once more when it is over. */
  runChanged(run: Run): void {
    this._looking.runChanged(run);
  }

  /** Draws another run beside this one; null: none. The last choice counts. */
  async compare(id: string | null): Promise<void> {
    if (id === this._chosen) {
      return;
    }
    this._chosen = id;
    this.set({ other: null });
    if (id === null) {
      return;
    }
    try {
      const other = await this.options.api.ddpUsage(id);
      if (this._chosen === id) {
        this.set({ other });
      }
    } catch (error) {
      if (this._chosen === id) {
        this.set({ error });
      }
    }
  }

  override dispose(): void {
    this._looking.dispose();
    super.dispose();
  }

  private readonly _looking: Looking;
  private _chosen: string | null = null;
}
