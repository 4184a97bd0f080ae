/**
 * Requests to the server extension.
 *
 * Guarantees: every request carries the page's authentication (token or XSRF) and language; a failure is an
 * `ApiError` with its kind, or an `AbortError` when the caller ended it; a stream that is left early is closed, so
 * that the server stops working for it.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { PerformanceEvent, PerformanceResult } from './doctor/performance';
import { ApiError, isAbort, kindOf } from './errors';
import { NdjsonError, NdjsonParser } from './ndjson';
import type {
  DdpProposal,
  ExaminationEvent,
  InstallAgain,
  KernelsHeld,
  LaunchDefaults,
  LaunchPlan,
  LaunchRequest,
  LeaseView,
  LogEvent,
  MovedFiles,
  Moving,
  NotebookScript,
  OfferedRepairs,
  RemovedPackages,
  RepairEvent,
  Report,
  ResetPreview,
  ResetWish,
  RestartedKernels,
  Run,
  RunMetrics,
  RunUsage,
  ServerStatus
} from './wire';

/** How long a stream that has much to say may keep the page from doing anything else. */
const TURN_MS = 16;

/** What the panels ask of the server; tests put another one in its place. */
export interface IApi {
  status(signal?: AbortSignal): Promise<ServerStatus>;
  lease(signal?: AbortSignal): Promise<LeaseView>;
  extendLease(): Promise<LeaseView>;
  keepLease(): Promise<LeaseView>;
  /** Asks whoever teaches for help; who asks again keeps their place. */
  raiseHand(text: string): Promise<LeaseView>;
  lowerHand(): Promise<LeaseView>;
  readNotices(upTo: number): Promise<LeaseView>;
  /** @param kernelId - of the running kernel that is meant; empty: what the spec would start */
  examine(kernel: string, signal: AbortSignal, kernelId?: string): AsyncGenerator<ExaminationEvent>;
  lastReport(signal?: AbortSignal): Promise<Report>;
  measure(kernel: string, signal: AbortSignal): AsyncGenerator<PerformanceEvent>;
  lastPerformance(signal?: AbortSignal): Promise<PerformanceResult>;
  repairs(signal?: AbortSignal): Promise<OfferedRepairs>;
  repair(code: string, command: string, signal: AbortSignal): AsyncGenerator<RepairEvent>;
  stopRepair(): Promise<{ stopped: boolean }>;
  ddpDefaults(signal?: AbortSignal): Promise<LaunchDefaults>;
  ddpPlan(request: LaunchRequest, signal?: AbortSignal): Promise<LaunchPlan>;
  ddpKernels(signal?: AbortSignal): Promise<KernelsHeld>;
  ddpNotebook(notebook: string): Promise<NotebookScript>;
  ddpProposal(script: string): Promise<DdpProposal>;
  ddpAccept(script: string, digest: string): Promise<{ script: string }>;
  ddpRuns(signal?: AbortSignal): Promise<Run[]>;
  ddpLaunch(request: LaunchRequest): Promise<Run>;
  ddpRun(id: string, signal?: AbortSignal): Promise<Run>;
  ddpLog(id: string, offset: number, signal: AbortSignal): AsyncGenerator<LogEvent>;
  ddpMetrics(id: string, signal?: AbortSignal): Promise<RunMetrics>;
  ddpUsage(id: string, signal?: AbortSignal): Promise<RunUsage>;
  /** Where the browser gets the whole log as a file. */
  ddpLogFile(id: string): string;
  ddpStop(id: string): Promise<Run>;
  resetPreview(signal?: AbortSignal): Promise<ResetPreview>;
  reset(wish: ResetWish): Promise<{ progress_url: string }>;
  restartKernels(): Promise<RestartedKernels>;
  removePackages(): Promise<RemovedPackages>;
  /** @param paths - relative to the home */
  moveToWork(paths: string[]): Promise<MovedFiles>;
  /** How far the move that goes on is. */
  moving(): Promise<Moving>;
  installAgain(signal?: AbortSignal): Promise<InstallAgain>;
  forgetInstallAgain(): Promise<void>;
}

export class Api implements IApi {
  /**
   * @param settings - the server and how to authenticate
   * @param language - the page's language, e.g. "zh_CN", in which the server words its findings
   */
  constructor(
    private readonly settings: ServerConnection.ISettings,
    private readonly language: string
  ) {}

  status(signal?: AbortSignal): Promise<ServerStatus> {
    return this._json('status', { signal });
  }

  lease(signal?: AbortSignal): Promise<LeaseView> {
    return this._json('lease', { signal });
  }

  extendLease(): Promise<LeaseView> {
    return this._json('lease/extend', { method: 'POST', body: {} });
  }

  keepLease(): Promise<LeaseView> {
    return this._json('lease/keep', { method: 'POST', body: {} });
  }

  raiseHand(text: string): Promise<LeaseView> {
    return this._json('hand', { method: 'POST', body: { text } });
  }

  lowerHand(): Promise<LeaseView> {
    return this._json('hand/lower', { method: 'POST', body: {} });
  }

  readNotices(upTo: number): Promise<LeaseView> {
    return this._json('notices/read', { method: 'POST', body: { up_to: upTo } });
  }

  examine(kernel: string, signal: AbortSignal, kernelId = ''): AsyncGenerator<ExaminationEvent> {
    const body = kernelId ? { kernel_id: kernelId } : { kernel };
    return this._stream('doctor/examinations', { method: 'POST', body, signal });
  }

  lastReport(signal?: AbortSignal): Promise<Report> {
    return this._json('doctor/report', { signal });
  }

  measure(kernel: string, signal: AbortSignal): AsyncGenerator<PerformanceEvent> {
    return this._stream('doctor/performance', { method: 'POST', body: { kernel }, signal });
  }

  lastPerformance(signal?: AbortSignal): Promise<PerformanceResult> {
    return this._json('doctor/performance', { signal });
  }

  repairs(signal?: AbortSignal): Promise<OfferedRepairs> {
    return this._json('doctor/repairs', { signal });
  }

  repair(code: string, command: string, signal: AbortSignal): AsyncGenerator<RepairEvent> {
    return this._stream('doctor/repairs', { method: 'POST', body: { code, command }, signal });
  }

  stopRepair(): Promise<{ stopped: boolean }> {
    return this._json('doctor/repairs', { method: 'DELETE' });
  }

  ddpDefaults(signal?: AbortSignal): Promise<LaunchDefaults> {
    return this._json('ddp/defaults', { signal });
  }

  ddpPlan(request: LaunchRequest, signal?: AbortSignal): Promise<LaunchPlan> {
    return this._json('ddp/plan', { method: 'POST', body: request, signal });
  }

  ddpKernels(signal?: AbortSignal): Promise<KernelsHeld> {
    return this._json('ddp/kernels', { signal });
  }

  ddpNotebook(notebook: string): Promise<NotebookScript> {
    return this._json('ddp/notebook', { method: 'POST', body: { notebook } });
  }

  ddpProposal(script: string): Promise<DdpProposal> {
    return this._json('ddp/proposal', { method: 'POST', body: { script } });
  }

  ddpAccept(script: string, digest: string): Promise<{ script: string }> {
    return this._json('ddp/proposal', { method: 'POST', body: { script, digest } });
  }

  async ddpRuns(signal?: AbortSignal): Promise<Run[]> {
    return (await this._json<{ runs: Run[] }>('ddp/runs', { signal })).runs;
  }

  ddpLaunch(request: LaunchRequest): Promise<Run> {
    return this._json('ddp/runs', { method: 'POST', body: request });
  }

  ddpRun(id: string, signal?: AbortSignal): Promise<Run> {
    return this._json(`ddp/runs/${encodeURIComponent(id)}`, { signal });
  }

  ddpLog(id: string, offset: number, signal: AbortSignal): AsyncGenerator<LogEvent> {
    return this._stream(`ddp/runs/${encodeURIComponent(id)}/log?offset=${offset}`, { signal });
  }

  ddpLogFile(id: string): string {
    return this._url(`ddp/runs/${encodeURIComponent(id)}/log/file`);
  }

  ddpMetrics(id: string, signal?: AbortSignal): Promise<RunMetrics> {
    return this._json(`ddp/runs/${encodeURIComponent(id)}/metrics`, { signal });
  }

  ddpUsage(id: string, signal?: AbortSignal): Promise<RunUsage> {
    return this._json(`ddp/runs/${encodeURIComponent(id)}/usage`, { signal });
  }

  ddpStop(id: string): Promise<Run> {
    return this._json(`ddp/runs/${encodeURIComponent(id)}/stop`, { method: 'POST', body: {} });
  }

  resetPreview(signal?: AbortSignal): Promise<ResetPreview> {
    return this._json('reset', { signal });
  }

  reset(wish: ResetWish): Promise<{ progress_url: string }> {
    return this._json('reset', { method: 'POST', body: wish });
  }

  restartKernels(): Promise<RestartedKernels> {
    return this._json('reset/kernels', { method: 'POST', body: {} });
  }

  removePackages(): Promise<RemovedPackages> {
    return this._json('reset/packages', { method: 'POST', body: {} });
  }

  moveToWork(paths: string[]): Promise<MovedFiles> {
    return this._json('reset/moves', { method: 'POST', body: { paths } });
  }

  moving(): Promise<Moving> {
    return this._json('reset/moves', {});
  }

  installAgain(signal?: AbortSignal): Promise<InstallAgain> {
    return this._json('reset/again', { signal });
  }

  async forgetInstallAgain(): Promise<void> {
    await this._fetch('reset/again', { method: 'DELETE' });
  }

  private _url(path: string): string {
    return URLExt.join(this.settings.baseUrl, 'gpucamp') + `/${path}`;
  }

  private async _json<T>(path: string, options: Api.IOptions): Promise<T> {
    const response = await this._fetch(path, options);
    try {
      return (await response.json()) as T;
    } catch (error) {
      if (isAbort(error)) {
        throw error;
      }
      throw new ApiError('fault', '', response.status);
    }
  }

  private async *_stream<T>(path: string, options: Api.IOptions): AsyncGenerator<T> {
    const response = await this._fetch(path, options);
    if (!response.body) {
      throw new ApiError('fault', '', response.status);
    }
    const reader = response.body.getReader();
    const parser = new NdjsonParser();
    let turn = performance.now();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        const events = done ? parser.end() : parser.push(value);
        for (const event of events) {
          yield event as T;
          if (performance.now() - turn > TURN_MS) {
            await nextTask();
            turn = performance.now();
          }
        }
        if (done) {
          return;
        }
      }
    } catch (error) {
      if (isAbort(error)) {
        throw error;
      }
      if (error instanceof NdjsonError) {
        throw new ApiError('fault', error.message, response.status);
      }
      throw new ApiError('network', '');
    } finally {
      // Also when the caller leaves early: the server sees it and stops.
      await reader.cancel().catch(() => undefined);
    }
  }

  private async _fetch(path: string, options: Api.IOptions): Promise<Response> {
    const init: RequestInit = {
      method: options.method ?? 'GET',
      headers: { 'Accept-Language': this.language.replace('_', '-') }
    };
    if (options.body !== undefined) {
      init.body = JSON.stringify(options.body);
    }
    if (options.signal) {
      init.signal = options.signal;
    }
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(this._url(path), init, this.settings);
    } catch (error) {
      if (isAbort(error) || options.signal?.aborted) {
        throw new DOMException('The request was ended', 'AbortError');
      }
      throw new ApiError('network', '');
    }
    if (!response.ok) {
      throw await refusal(response);
    }
    return response;
  }
}

export namespace Api {
  export interface IOptions {
    method?: 'GET' | 'POST' | 'DELETE';
    body?: unknown;
    signal?: AbortSignal;
  }
}

async function refusal(response: Response): Promise<ApiError> {
  let message = '';
  try {
    const body = (await response.json()) as { message?: unknown };
    if (typeof body.message === 'string') {
      message = body.message;
    }
  } catch {
    // Not our JSON (a proxy's page, say): the status alone tells.
  }
  return new ApiError(kindOf(response.status), message, response.status);
}

/** Lets the page do what waits: drawing, input. Unlike a timer it is not slowed down in a hidden page. */
function nextTask(): Promise<void> {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
