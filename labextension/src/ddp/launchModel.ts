import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type { LaunchDefaults, LaunchPlan, LaunchRequest, Run } from '../wire';
import { EMPTY_FORM, formOf, FormProblem, LaunchForm, toRequest } from './form';
import { isAlive } from './runText';

export interface LaunchState {
  form: LaunchForm;
  defaults: LaunchDefaults | null;
  /** Scripts to choose from, as paths. */
  scripts: string[];
  problem: FormProblem | null;
  /** What the server would run for the form as it is now; null while that is not known. */
  plan: LaunchPlan | null;
  planError: unknown;
  launching: boolean;
  launchError: unknown;
  runs: Run[];
  runsError: unknown;
}

export interface LaunchOptions {
  api: IApi;
  /** Lists scripts; may be slow, may fail. */
  scripts: () => Promise<string[]>;
  /** Milliseconds of quiet before the server is asked for a plan. */
  quiet?: number;
  /** Milliseconds between two looks at the runs while one goes on. */
  runsEvery?: number;
}

/**
 * The form, its plan and the list of runs. The plan shown always belongs to the form shown: a change of the form
 * removes it until the server has answered for the new one.
 */
export class LaunchModel extends Store<LaunchState> {
  constructor(private readonly options: LaunchOptions) {
    super({
      form: EMPTY_FORM,
      defaults: null,
      scripts: [],
      problem: { field: 'script', reason: 'no-script' },
      plan: null,
      planError: null,
      launching: false,
      launchError: null,
      runs: [],
      runsError: null
    });
  }

  /** Asks for all that the panel shows. */
  async load(): Promise<void> {
    await Promise.all([this._loadDefaults(), this._loadScripts(), this.refreshRuns()]);
  }

  /** Takes what the person entered. */
  edit(change: Partial<LaunchForm>): void {
    this._apply({ ...this.state.form, ...change });
  }

  /** Puts an earlier run's values into the form. */
  fillFrom(run: Run): void {
    this._apply(formOf(run));
  }

  /** Launches what the form says. Gives the run, or null with `launchError` set. */
  async launch(): Promise<Run | null> {
    const parsed = toRequest(this.state.form, this.state.defaults);
    if (this.state.launching || !('request' in parsed)) {
      return null;
    }
    const { form, plan } = this.state;
    const request = plan?.id === undefined ? parsed.request : { ...parsed.request, id: plan.id };
    this.set({ launching: true, launchError: null });
    try {
      const run = await this._launchOnce(request);
      this.set({ runs: [run, ...this.state.runs.filter(other => other.id !== run.id)] });
      this._watchRuns();
      if (this.state.form === form) {
        // A plan is for one run; the next one needs another.
        this._apply(form);
      }
      return run;
    } catch (launchError) {
      this.set({ launchError });
      return null;
    } finally {
      this.set({ launching: false });
    }
  }

  /** A lost reply does not make a second run: where the id is taken, the run is the one asked for. */
  private async _launchOnce(request: LaunchRequest): Promise<Run> {
    const { api } = this.options;
    try {
      return await api.ddpLaunch(request);
    } catch (error) {
      const known = error instanceof ApiError && (error.kind === 'network' || error.status === 409);
      if (request.id === undefined || !known) {
        throw error;
      }
      return await api.ddpRun(request.id).catch(() => {
        throw error;
      });
    }
  }

  async refreshRuns(): Promise<void> {
    try {
      const runs = await this.options.api.ddpRuns();
      this.set({ runs, runsError: null });
    } catch (runsError) {
      this.set({ runsError });
    }
    this._watchRuns();
  }

  override dispose(): void {
    clearTimeout(this._planTimer);
    clearTimeout(this._runsTimer);
    this._planning?.abort();
    super.dispose();
  }

  private _apply(form: LaunchForm): void {
    const parsed = toRequest(form, this.state.defaults);
    clearTimeout(this._planTimer);
    this._planning?.abort();
    this.set({
      form,
      problem: 'problem' in parsed ? parsed.problem : null,
      plan: null,
      planError: null,
      launchError: null
    });
    if ('request' in parsed) {
      this._planTimer = setTimeout(() => void this._plan(), this.options.quiet ?? 300);
    }
  }

  private async _plan(): Promise<void> {
    const parsed = toRequest(this.state.form, this.state.defaults);
    if (!('request' in parsed)) {
      return;
    }
    const planning = new AbortController();
    this._planning = planning;
    try {
      const plan = await this.options.api.ddpPlan(parsed.request, planning.signal);
      if (this._planning === planning && !planning.signal.aborted) {
        this.set({ plan, planError: null });
      }
    } catch (planError) {
      if (this._planning === planning && !isAbort(planError) && !planning.signal.aborted) {
        this.set({ plan: null, planError });
      }
    }
  }

  private async _loadDefaults(): Promise<void> {
    try {
      const defaults = await this.options.api.ddpDefaults();
      this.set({ defaults });
      // Keeps what was entered meanwhile.
      this.edit({ processes: this.state.form.processes || String(defaults.processes) });
    } catch (error) {
      this.set({ planError: error });
    }
  }

  private async _loadScripts(): Promise<void> {
    // Without the list a path can still be typed.
    const scripts = await this.options.scripts().catch(() => []);
    this.set({ scripts });
  }

  private _watchRuns(): void {
    clearTimeout(this._runsTimer);
    if (!this.isDisposed && this.state.runs.some(run => isAlive(run.state))) {
      this._runsTimer = setTimeout(() => void this.refreshRuns(), this.options.runsEvery ?? 3000);
    }
  }

  private _planTimer: ReturnType<typeof setTimeout> | undefined;
  private _runsTimer: ReturnType<typeof setTimeout> | undefined;
  private _planning: AbortController | null = null;
}
