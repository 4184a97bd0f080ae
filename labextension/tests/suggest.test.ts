import type { Notification } from '@jupyterlab/apputils';
import type { Kernel } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { namesDoctor } from '../src/ddp/runText';
import { isRepeated, type IWatched, watchKernel } from '../src/doctor/kernelWatch';
import { type Cause, Suggester } from '../src/doctor/suggest';
import type { INotifications } from '../src/lease/notifier';
import { Told } from '../src/lease/told';
import type { LeasedDevice, LeaseView } from '../src/wire';
import { english } from './helpers';

const MINUTE = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-05-01T10:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

/** What localStorage is: shared by the tabs of a browser, and there after a reload. */
class FakeStorage {
  getItem(name: string): string | null {
    return (this as unknown as Record<string, string | undefined>)[name] ?? null;
  }

  setItem(name: string, value: string): void {
    (this as unknown as Record<string, string>)[name] = value;
  }

  removeItem(name: string): void {
    Reflect.deleteProperty(this, name);
  }
}

/** A page: what it suggests, and a person who sees it or not. */
class Page implements INotifications {
  readonly shown = new Map<string, { message: string; actions: Notification.IAction[] }>();
  readonly examined: (string | null)[] = [];
  visible = true;
  wanted = true;
  readonly suggester: Suggester;

  constructor(storage: Storage) {
    this.suggester = new Suggester({
      notifications: this,
      told: new Told(storage, 'p:'),
      isVisible: () => this.visible,
      isWanted: () => Promise.resolve(this.wanted),
      examine: kernel => this.examined.push(kernel),
      trans: english
    });
  }

  emit(
    message: string,
    _type: Notification.TypeOptions,
    options: { actions?: Notification.IAction[] }
  ): string {
    const id = `${message}/${this.shown.size}`;
    this.shown.set(id, { message, actions: options.actions ?? [] });
    return id;
  }

  dismiss(id: string): void {
    this.shown.delete(id);
  }

  onRemoved(): void {
    // not asked for
  }

  get messages(): string[] {
    return [...this.shown.values()].map(one => one.message);
  }

  async suggest(...causes: Cause[]): Promise<void> {
    const all = Promise.all(causes.map(cause => this.suggester.suggest(cause)));
    await vi.advanceTimersByTimeAsync(500);
    await all;
  }

  async lease(view: LeaseView): Promise<void> {
    const done = this.suggester.lease(view);
    await vi.advanceTimersByTimeAsync(500);
    await done;
  }
}

const storage = (): Storage => new FakeStorage() as unknown as Storage;
const died: Cause = { kind: 'died', session: 's1', kernel: 'python3', name: 'train.ipynb' };
const notStarted: Cause = { kind: 'not-started', kernel: 'python3', name: 'train.ipynb' };

describe('a suggestion', () => {
  test('has a button that examines that kernel', async () => {
    const page = new Page(storage());
    await page.suggest(died);
    expect(page.messages).toEqual([
      'The kernel of train.ipynb has died more than once. GPU doctor can find out why.'
    ]);
    const [action] = [...page.shown.values()][0]?.actions ?? [];
    expect(action?.label).toBe('Examine');
    action?.callback(new Event('click') as MouseEvent);
    expect(page.examined).toEqual(['python3']);
  });

  test('comes once for a session: not again, not in another tab, not after a reload', async () => {
    const kept = storage();
    const [page, other] = [new Page(kept), new Page(kept)];
    await Promise.all([page.suggest(died, died), other.suggest(died)]);
    expect([...page.messages, ...other.messages]).toHaveLength(1);
    const reloaded = new Page(kept);
    await reloaded.suggest(died);
    expect(reloaded.messages).toEqual([]);
    await reloaded.suggest({ ...died, session: 's2' });
    expect(reloaded.messages).toHaveLength(1);
  });

  test('waits until the page is seen', async () => {
    const page = new Page(storage());
    page.visible = false;
    await page.suggest(died);
    expect(page.messages).toEqual([]);
    page.visible = true;
    const over = page.suggester.catchUp();
    await vi.advanceTimersByTimeAsync(500);
    await over;
    expect(page.messages).toHaveLength(1);
  });

  test('does not come while the setting is off', async () => {
    const page = new Page(storage());
    page.wanted = false;
    await page.suggest(died, notStarted);
    await page.lease(leaseOf(device({ state: 'missing' })));
    expect(page.messages).toEqual([]);
  });

  test('about a kernel that does not start goes when it works, and comes again if it fails later', async () => {
    const page = new Page(storage());
    await page.suggest(notStarted, { ...notStarted, name: 'other.ipynb' });
    expect(page.messages).toHaveLength(1);
    page.suggester.kernelWorks('another');
    expect(page.messages).toHaveLength(1);
    page.suggester.kernelWorks('python3');
    expect(page.messages).toEqual([]);
    await page.suggest(notStarted);
    expect(page.messages).toHaveLength(1);
  });

  test('fits into a notification whatever the name', async () => {
    const page = new Page(storage());
    await page.suggest({ ...died, name: 'x'.repeat(300) });
    expect(page.messages[0]?.length).toBeLessThanOrEqual(140);
  });
});

const device = (more: Partial<LeasedDevice> = {}): LeasedDevice => ({
  uuid: 'GPU-1',
  name: 'NVIDIA A100',
  simulated: false,
  mig: false,
  state: 'healthy',
  reason: '',
  cordon: '',
  ...more
});

function leaseOf(one: LeasedDevice, id = 'lease-1', more: Partial<LeaseView> = {}): LeaseView {
  return {
    state: 'known',
    now: new Date().toISOString(),
    mine: true,
    lease: {
      id,
      state: 'running',
      expires_at: null,
      extensions: 0,
      can_extend: false,
      extend_refusal: null,
      shared: false,
      idle_since: null,
      reclaim_at: null,
      devices: [one]
    },
    notices: [],
    warn_minutes: [],
    hand: null,
    ...more
  };
}

describe('a device of the lease', () => {
  test.each(['missing', 'quarantined'] as const)('that is %s is told once', async state => {
    const kept = storage();
    const page = new Page(kept);
    await page.lease(leaseOf(device()));
    expect(page.messages).toEqual([]);
    await page.lease(leaseOf(device({ state })));
    await page.lease(leaseOf(device({ state })));
    expect(page.messages).toEqual([
      'Your GPU is not in order. GPU doctor says what still works, and what to do.'
    ]);
    const reloaded = new Page(kept);
    await reloaded.lease(leaseOf(device({ state })));
    expect(reloaded.messages).toEqual([]);
    await reloaded.lease(leaseOf(device({ state }), 'lease-2'));
    expect(reloaded.messages).toHaveLength(1);
  });

  test('that is well again is not told any more', async () => {
    const page = new Page(storage());
    await page.lease(leaseOf(device({ state: 'missing' })));
    await page.lease(leaseOf(device()));
    expect(page.messages).toEqual([]);
  });

  test("of somebody else's server, or of long ago, is not told", async () => {
    const page = new Page(storage());
    const ill = device({ state: 'missing' });
    await page.lease(leaseOf(ill, 'lease-1', { mine: false }));
    await page.lease(leaseOf(ill, 'lease-1', { state: 'unknown' }));
    expect(page.messages).toEqual([]);
  });
});

/** A session context as JupyterLab has it, with the messages that its kernel and server send. */
class Context {
  readonly anyMessage = new Signal<unknown, Kernel.IAnyMessageArgs>({});
  readonly sessionChanged = new Signal<unknown, unknown>(this);
  readonly statusChanged = new Signal<unknown, string>(this);
  readonly kernelPreference = { name: 'python3' };
  kernelDisplayName = 'Python 3';
  name = 'train.ipynb';
  session: unknown = null;
  readonly causes: Cause[] = [];
  readonly working: string[] = [];

  constructor() {
    watchKernel(this as unknown as IWatched, {
      broke: cause => this.causes.push(cause),
      works: kernel => this.working.push(kernel),
      specOf: name => (name === 'Python 3' ? 'python3' : null)
    });
  }

  start(id = 's1'): void {
    this.statusChanged.emit('starting');
    const oldValue = this.session;
    this.session = { id, kernel: { name: 'python3' }, anyMessage: this.anyMessage };
    this.sessionChanged.emit({ name: 'session', oldValue, newValue: this.session });
    this.statusChanged.emit('starting');
  }

  /** As JupyterLab tells that a session cannot be had. */
  fail(): void {
    this.statusChanged.emit('starting');
    this.session = null;
    this.sessionChanged.emit({ name: 'session', oldValue: null, newValue: null });
  }

  message(msg_type: string, content: unknown, direction: 'recv' | 'send' = 'recv'): void {
    const msg = { header: { msg_type }, content };
    this.anyMessage.emit({ msg, direction } as unknown as Kernel.IAnyMessageArgs);
  }

  status(execution_state: string): void {
    this.message('status', { execution_state });
    this.statusChanged.emit(execution_state === 'restarting' ? 'autorestarting' : execution_state);
  }
}

describe('a kernel', () => {
  const running = (): Context => {
    const context = new Context();
    context.start();
    context.status('idle');
    return context;
  };

  test('that dies twice in ten minutes is told, a single death is not', () => {
    const context = running();
    context.status('restarting');
    context.status('idle');
    expect(context.causes).toEqual([]);
    vi.advanceTimersByTime(9 * MINUTE);
    context.status('restarting');
    expect(context.causes).toEqual([died]);
    expect(context.working).toEqual(['python3']);
  });

  test('that dies now and then is not', () => {
    const context = running();
    for (let death = 0; death < 3; death++) {
      context.status('restarting');
      vi.advanceTimersByTime(11 * MINUTE);
    }
    expect(context.causes).toEqual([]);
    expect(isRepeated([])).toBe(false);
  });

  test('that the server gives up is told at once', () => {
    const context = running();
    context.status('dead');
    expect(context.causes).toEqual([died]);
  });

  test('that the person restarts, again and again, is not told', () => {
    const context = running();
    for (let restart = 0; restart < 5; restart++) {
      context.statusChanged.emit('restarting'); // no message of the server says it
      context.status('starting');
      context.status('idle');
    }
    expect(context.causes).toEqual([]);
  });

  test('that the person shuts down is not told, wherever it is done', () => {
    const context = running();
    context.statusChanged.emit('dead'); // from the list of kernels
    const other = new Context();
    other.start();
    other.statusChanged.emit('terminating'); // from the document, even before it worked
    other.statusChanged.emit('dead');
    other.session = null;
    other.sessionChanged.emit({ name: 'session', oldValue: null, newValue: null });
    expect([...context.causes, ...other.causes]).toEqual([]);
  });

  test('that a cell asked to exit is not told', () => {
    const context = running();
    for (let exit = 0; exit < 3; exit++) {
      context.message('execute_reply', { payload: [{ source: 'ask_exit' }] });
      context.status('restarting');
      context.status('idle');
    }
    expect(context.causes).toEqual([]);
  });

  test('that cannot be started is told, with its spec', () => {
    const context = new Context();
    context.fail();
    expect(context.causes).toEqual([notStarted]);
  });

  test('that never comes to work is told as one that did not start', () => {
    const silent = new Context();
    silent.start();
    silent.statusChanged.emit('dead'); // the server's list does not have it any more
    expect(silent.causes).toEqual([notStarted]);
    const loud = new Context();
    loud.start();
    loud.status('restarting');
    loud.status('restarting');
    expect(loud.causes).toEqual([notStarted]);
  });

  test('"no kernel" is no failure', () => {
    const context = new Context();
    context.statusChanged.emit('terminating');
    context.statusChanged.emit('unknown');
    context.sessionChanged.emit({ name: 'session', oldValue: null, newValue: null });
    expect(context.causes).toEqual([]);
  });

  test('what the page itself sends is not taken for news of the server', () => {
    const context = running();
    context.message('status', { execution_state: 'dead' }, 'send');
    expect(context.causes).toEqual([]);
  });
});

describe('a failed run', () => {
  const PO = join(import.meta.dirname, '../../server_ext/locale/zh_CN/LC_MESSAGES/gpucamp.po');
  const diagnosis = (fix: string): Parameters<typeof namesDoctor>[0] => ({
    cause: '',
    fix,
    rank: null,
    evidence: null
  });
  const chinese = { __: () => 'GPU 医生' } as unknown as typeof english;

  test('names the doctor in the languages that the server speaks', () => {
    const unwrap = (text: string): string => text.replace(/"\n"/g, '');
    const entries = unwrap(readFileSync(PO, 'utf8')).split('\n\n');
    const told = entries.filter(entry => /^msgid ".*the GPU doctor/m.test(entry));
    expect(told.length).toBeGreaterThan(4);
    for (const entry of told) {
      const [, english_, translated] = /^msgid "(.*)"\nmsgstr "(.*)"/m.exec(entry) ?? [];
      expect(namesDoctor(diagnosis(english_ ?? ''), english), entry).toBe(true);
      expect(namesDoctor(diagnosis(translated ?? ''), chinese), entry).toBe(true);
    }
  });

  test('that has nothing to do with it does not', () => {
    expect(namesDoctor(diagnosis('Use a smaller batch.'), english)).toBe(false);
    expect(namesDoctor(diagnosis('请减小批大小。'), chinese)).toBe(false);
  });
});
