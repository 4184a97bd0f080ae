import type { IApi } from '../api';
import { Store } from '../store';
import type { KernelsHeld } from '../wire';

export interface KernelsState {
  /** The server's last answer; null before the first. */
  held: KernelsHeld | null;
  /** The ids of those that are to be shut down. */
  chosen: ReadonlySet<string>;
  ending: boolean;
  /** Why a kernel could not be shut down. */
  error: unknown;
}

export interface KernelsOptions {
  api: Pick<IApi, 'ddpKernels'>;
  /** Shuts one down; one that has gone already is no failure. */
  end: (id: string) => Promise<void>;
  /** Called after kernels were shut down: what was said about the machine has changed. */
  ended: () => void;
}

/** The user's kernels, and which of them to shut down before a launch. Only what runs can be chosen. */
export class KernelsModel extends Store<KernelsState> {
  constructor(private readonly options: KernelsOptions) {
    super({ held: null, chosen: new Set(), ending: false, error: null });
  }

  /** Asks the server. Where it does not answer, nothing is said about kernels: they are only advice. */
  async refresh(): Promise<void> {
    const asked = ++this._asked;
    const held = await this.options.api.ddpKernels().catch(() => null);
    if (asked !== this._asked) {
      return; // a later question counts
    }
    const running = new Set(held?.kernels.map(kernel => kernel.id));
    const chosen = new Set([...this.state.chosen].filter(id => running.has(id)));
    this.set({ held, chosen });
  }

  choose(id: string, on: boolean): void {
    const chosen = new Set(this.state.chosen);
    if (on) {
      chosen.add(id);
    } else {
      chosen.delete(id);
    }
    this.set({ chosen });
  }

  /** Shuts down what is chosen, then looks again. */
  async end(): Promise<void> {
    if (this.state.ending || this.state.chosen.size === 0) {
      return;
    }
    this.set({ ending: true, error: null });
    const answers = await Promise.allSettled([...this.state.chosen].map(this.options.end));
    const failed = answers.find(answer => answer.status === 'rejected');
    await this.refresh();
    this.set({ ending: false, error: failed ? failed.reason : null });
    this.options.ended();
  }

  private _asked = 0;
}
