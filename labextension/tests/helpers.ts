import type { IApi } from '../src/api';
import type { IBrowserNotices, NoticePermission } from '../src/ddp/browserNotices';
import type { Run } from '../src/wire';
import type { TranslationBundle } from '@jupyterlab/translation';

/** English as JupyterLab's translator gives it when there is no catalogue. */
function format(text: string, values: unknown[]): string {
  return text.replace(/%(\d+)/g, (_, at: string) => String(values[Number(at) - 1]));
}

export const english = {
  __: (text: string, ...values: unknown[]) => format(text, values),
  _n: (one: string, many: string, count: number, ...values: unknown[]) =>
    format(count === 1 ? one : many, [count, ...values])
} as unknown as TranslationBundle;

/** A server that knows only what a test tells it: everything else is a mistake of the code under test. */
export function fakeApi(known: Partial<IApi>): IApi {
  return new Proxy(known as IApi, {
    get: (target, name: keyof IApi) => {
      if (!(name in target)) {
        throw new Error(`The test's server was asked for ${name}`);
      }
      return target[name].bind(target);
    }
  });
}

/** Resolves when `condition` holds; fails after two seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 2000;
  while (!condition()) {
    if (Date.now() > end) {
      throw new Error(`Waited in vain for ${condition.toString()}`);
    }
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}

/** A promise to be settled by the test. */
export class Deferred<T> {
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;
  promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** A browser that allows notices, or does not, and what it showed. */
export class Browser implements IBrowserNotices {
  constructor(
    private allowed: NoticePermission,
    private readonly answer: NoticePermission = allowed
  ) {}

  readonly shown: { title: string; body: string; tag: string; clicked: () => void }[] = [];
  asked = 0;

  permission(): NoticePermission {
    return this.allowed;
  }

  ask(): Promise<NoticePermission> {
    this.asked += 1;
    this.allowed = this.answer;
    return Promise.resolve(this.allowed);
  }

  show(title: string, body: string, tag: string, clicked: () => void): void {
    this.shown.push({ title, body, tag, clicked });
  }
}

/** A run as the server tells it. */
export function runOf(change: Partial<Run> = {}): Run {
  return {
    id: '20260131-120000-1a2b3c',
    script: 'a.py',
    command: 'torchrun /w/a.py',
    processes: 2,
    state: 'succeeded',
    started_at: 1000,
    ended_at: 1065,
    exit_code: 0,
    diagnosis: null,
    arguments: [],
    ...change
  };
}
