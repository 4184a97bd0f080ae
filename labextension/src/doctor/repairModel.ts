import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type { Finding } from '../wire';
import type { DoctorModel } from './model';

/** How much of what a repair says is kept, in characters; the server says no more than 64 KiB. */
const MOST_OUTPUT = 65_536;

/** How often the server is asked what became of a repair whose reply was lost. */
const ATTEMPTS = 60;

export interface Mending {
  /** checking: it is done, and the kernel is examined again. */
  phase: 'idle' | 'running' | 'checking' | 'mended' | 'remains' | 'unknown' | 'failed';
  code: string;
  title: string;
  command: string;
  output: string;
  /** What is left for the person to do. */
  then: string[];
  error: unknown;
}

const NOTHING: Mending = {
  phase: 'idle',
  code: '',
  title: '',
  command: '',
  output: '',
  then: [],
  error: null
};

/**
 * One repair at a time, and the examination after it.
 *
 * Guarantees: nothing is asked for but the command that was shown; however a repair ends, refused and lost replies
 * included, the kernel is examined again once the server is done, so that what is shown is what is; that a finding is
 * gone is said only when an examination has ended without it.
 */
export class RepairModel extends Store<Mending> {
  /**
   * @param api - the server
   * @param doctor - where the examination after a repair is shown
   * @param pause - milliseconds between two questions for a repair whose reply was lost
   */
  constructor(
    private readonly api: IApi,
    private readonly doctor: DoctorModel,
    private readonly pause = 1000
  ) {
    super(NOTHING);
  }

  get isBusy(): boolean {
    return this.state.phase === 'running' || this.state.phase === 'checking';
  }

  /** Does what was consented to; resolves when that and the examination after it are over. Nothing while busy. */
  async mend(finding: Finding): Promise<void> {
    const command = finding.repair?.command;
    if (!command || this.isBusy || this.isDisposed) {
      return;
    }
    const { code, title } = finding;
    const { kernel, kernelId } = this.doctor.state;
    this.doctor.cancel();
    this.doctor.choose(kernel, kernelId); // what is shown is mended and examined, whatever was chosen to be next
    this.set({ ...NOTHING, phase: 'running', code, title, command });
    const ending = new AbortController();
    this._ending = ending;
    let error: unknown = null;
    for (const isLast of [false, true]) {
      try {
        error = null;
        await this._follow(code, command, ending.signal);
        break;
      } catch (problem) {
        if (isAbort(problem)) {
          return; // the panel is gone
        }
        error = problem;
        this.set({ error, phase: 'checking' });
        await this._settled(error);
        await this.doctor.examine();
        if (isLast || !isForgotten(error) || !this._isOffered(code, command)) {
          break;
        }
        // The server was restarted after the report that is shown; what was consented to is still what mends.
        this.set({ error: null, phase: 'running' });
      }
    }
    this._ending = null;
    this.set({ phase: this._outcome(code, error) });
  }

  /** Asks the server to end the repair that runs. */
  async stop(): Promise<void> {
    if (this.state.phase === 'running') {
      try {
        await this.api.stopRepair();
      } catch {
        // The connection is lost: then the repair's own reply is, too, and that is told.
      }
    }
  }

  /** Takes the last repair out of view. */
  forget(): void {
    if (!this.isBusy) {
      this.set(NOTHING);
    }
  }

  override dispose(): void {
    super.dispose();
    this._ending?.abort();
  }

  private async _follow(code: string, command: string, signal: AbortSignal): Promise<void> {
    const events = this.api.repair(code, command, signal);
    for (;;) {
      const next = await events.next();
      if (next.done) {
        throw new ApiError('network', ''); // ended without having said that it is done
      }
      const value = next.value;
      if (value.event === 'error') {
        throw new ApiError('refused', value.message, value.status);
      } else if (value.event === 'output') {
        this.set({ output: (this.state.output + value.text).slice(0, MOST_OUTPUT) });
      } else if (value.event === 'repaired') {
        this.set({ phase: 'checking', then: value.then });
        await this.doctor.examine(this.doctor.state.kernel, events);
        return;
      }
    }
  }

  /** Resolves when the server does not mend any more, as far as it can be asked. */
  private async _settled(error: unknown): Promise<void> {
    const isLost = !(error instanceof ApiError) || error.status === 0 || error.status >= 500;
    for (let attempt = 0; isLost && attempt < ATTEMPTS; attempt++) {
      try {
        if (!(await this.api.repairs()).running) {
          return;
        }
      } catch (problem) {
        if (!(problem instanceof ApiError && problem.kind === 'network') || attempt > 10) {
          return; // 404: nothing runs
        }
      }
      await new Promise(resolve => setTimeout(resolve, this.pause));
    }
  }

  private _isOffered(code: string, command: string): boolean {
    const { phase, findings } = this.doctor.state;
    const found = findings.find(finding => finding.code === code);
    return phase === 'finished' && found?.repair?.command === command;
  }

  private _outcome(code: string, error: unknown): Mending['phase'] {
    const { phase, findings } = this.doctor.state;
    if (phase === 'finished') {
      const isGone = !findings.some(finding => finding.code === code);
      return isGone ? 'mended' : error ? 'failed' : 'remains';
    }
    return error ? 'failed' : 'unknown';
  }

  private _ending: AbortController | null = null;
}

/** Whether the server knows no report that offers a repair. */
function isForgotten(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404;
}
