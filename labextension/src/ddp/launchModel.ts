import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type {
  DdpProposal,
  LaunchDefaults,
  LaunchPlan,
  LaunchRequest,
  NotebookScript,
  Run
} from '../wire';
import { EMPTY_FORM, formOf, FormProblem, LaunchForm, toRequest } from './form';
import { isAlive } from './runText';

/** A notebook that was asked to become a script: what came of it, or the error, or neither yet. */
export interface NotebookExport {
  path: string;
  made: NotebookScript | null;
  error: unknown;
}

/** A plain script for which the wrapping of DDP was asked for. written: the script that was made. */
export interface ProposalView {
  script: string;
  proposal: DdpProposal | null;
  accepting: boolean;
  written: string | null;
  error: unknown;
}

export interface LaunchState {
  form: LaunchForm;
  defaults: LaunchDefaults | null;
  /** Scripts to choose from, as paths. */
  scripts: string[];
  problem: FormProblem | null;
  /** What became of the notebook that the script is from; null for a script that was always one. */
  notebook: NotebookExport | null;
  proposal: ProposalView | null;
  /** What the server would run for the form as it is now; null while that is not known. */
  plan: LaunchPlan | null;
  planError: unknown;
  launching: boolean;
  launchError: unknown;
  /** Whether the end of what is launched is to be told. */
  notify: boolean;
  runs: Run[];
  runsError: unknown;
}

export interface LaunchOptions {
  api: IApi;
  /** Lists scripts; may be slow, may fail. */
  scripts: () => Promise<string[]>;
  /** Wishes to be told of the end of a run. */
  wish?: (id: string) => void;
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
      notebook: null,
      proposal: null,
      plan: null,
      planError: null,
      launching: false,
      launchError: null,
      notify: false,
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
    if (change.script !== undefined || change.module !== undefined) {
      this.set({ notebook: null, proposal: null }); // what was said was about another
    }
    this._apply({ ...this.state.form, ...change });
  }

  /** Makes a script of a notebook, and takes it. The last one that is asked for counts. */
  async useNotebook(path: string): Promise<void> {
    this.edit({ module: false, script: path });
    const asked: NotebookExport = { path, made: null, error: null };
    this.set({ notebook: asked });
    try {
      const made = await this.options.api.ddpNotebook(path);
      if (this.state.notebook !== asked) {
        return;
      }
      if (made.script !== null) {
        this._apply({ ...this.state.form, script: made.script });
      }
      this.set({ notebook: { path, made, error: null } });
    } catch (error) {
      if (this.state.notebook === asked) {
        this.set({ notebook: { path, made: null, error } });
      }
    }
  }

  /** Asks what would make a DDP script of the one in the form. */
  async askProposal(): Promise<void> {
    const request = toRequest(this.state.form, null);
    const script = 'request' in request ? request.request.script : undefined;
    if (script === undefined) {
      return;
    }
    const asked = { script, proposal: null, accepting: false, written: null, error: null };
    this.set({ proposal: asked });
    await this._answer(asked, async () => ({
      ...asked,
      proposal: await this.options.api.ddpProposal(script)
    }));
  }

  /** Lets the proposal be written beside the script, and takes what was written. */
  async acceptProposal(): Promise<void> {
    const shown = this.state.proposal;
    const digest = shown?.proposal?.digest;
    if (!shown || !digest || shown.accepting) {
      return;
    }
    const accepting = { ...shown, accepting: true, error: null };
    this.set({ proposal: accepting });
    await this._answer(accepting, async () => {
      const { script } = await this.options.api.ddpAccept(shown.script, digest);
      if (this.state.proposal === accepting) {
        this._apply({ ...this.state.form, script });
      }
      return { ...shown, written: script };
    });
  }

  dropProposal(): void {
    this.set({ proposal: null });
  }

  /** Sets what comes of a question about a proposal, unless another was asked meanwhile. */
  private async _answer(asked: ProposalView, ask: () => Promise<ProposalView>): Promise<void> {
    let answer: ProposalView;
    try {
      answer = await ask();
    } catch (error) {
      answer = { ...asked, accepting: false, error };
    }
    if (this.state.proposal === asked) {
      this.set({ proposal: answer });
    }
  }

  /** Puts an earlier run's values into the form. */
  fillFrom(run: Run): void {
    this.set({ notebook: null, proposal: null });
    this._apply(formOf(run));
  }

  /** Asks for a plan again, because the machine has changed. */
  replan(): void {
    this._apply(this.state.form);
  }

  setNotify(notify: boolean): void {
    this.set({ notify });
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
      if (this.state.notify) {
        this.options.wish?.(run.id);
      }
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
