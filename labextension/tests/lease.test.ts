import type { Notification } from '@jupyterlab/apputils';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { IApi } from '../src/api';
import { ApiError } from '../src/errors';
import { LeaseModel } from '../src/lease/model';
import { type INotifications, Notifier } from '../src/lease/notifier';
import {
  durationText,
  healthText,
  leaseStatusText,
  timeLeftText,
  timeOf,
  wallClock,
  whatHappensThen
} from '../src/lease/texts';
import { Told } from '../src/lease/told';
import { dueWarning } from '../src/lease/warnings';
import type { Lease, LeasedDevice, LeaseView, Notice } from '../src/wire';
import { english, fakeApi } from './helpers';

const MINUTE = 60_000;
const START = Date.parse('2026-05-01T10:00:00Z');

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

const lease = (more: Partial<Lease> = {}): Lease => ({
  id: 'lease-1',
  state: 'running',
  expires_at: '2026-05-01T12:00:00Z',
  extensions: 0,
  can_extend: true,
  extend_refusal: null,
  shared: false,
  idle_since: null,
  reclaim_at: null,
  devices: [device()],
  ...more
});

const view = (of: Lease | null, more: Partial<LeaseView> = {}): LeaseView => ({
  state: 'known',
  now: new Date(Date.now()).toISOString(),
  mine: true,
  lease: of,
  notices: [],
  warn_minutes: [30, 10, 5],
  hand: null,
  ...more
});

const inMinutes = (minutes: number): string =>
  new Date(Date.now() + minutes * MINUTE).toISOString();

beforeEach(() => {
  vi.useFakeTimers({ now: START });
});

afterEach(() => {
  vi.useRealTimers();
});

describe('words', () => {
  test.each([
    [1, '1 min'],
    [MINUTE, '1 min'],
    [MINUTE + 1, '2 min'],
    [59 * MINUTE, '59 min'],
    [60 * MINUTE, '1 h'],
    [72 * MINUTE, '1 h 12 min'],
    [24 * 60 * MINUTE, '1 d'],
    [50.5 * 60 * MINUTE, '2 d 2 h']
  ])('%i ms are %s', (ms, text) => {
    expect(durationText(ms, english)).toBe(text);
  });

  test('what is left, and nothing', () => {
    expect(timeLeftText(72 * MINUTE, english)).toBe('1 h 12 min left');
    expect(timeLeftText(0, english)).toBe('time is up');
    expect(timeLeftText(-5, english)).toBe('time is up');
  });

  test('the clock on the wall has a date only on another day, in any language', () => {
    expect(wallClock(START + MINUTE, START, 'en')).toMatch(/^\d?\d:\d\d( [AP]M)?$/);
    expect(wallClock(START + 30 * 60 * MINUTE, START, 'en')).toMatch(/May/);
    expect(wallClock(START + 30 * 60 * MINUTE, START, 'zh_CN')).toMatch(/5月/);
    expect(wallClock(START, START, 'no such language')).toMatch(/\d\d/);
  });

  test('times that are none', () => {
    expect([timeOf(null), timeOf(undefined), timeOf('soon')]).toEqual([null, null, null]);
  });

  test('health', () => {
    expect(healthText(device(), english)).toBeNull();
    expect(healthText(device({ cordon: 'cordoned' }), english)).toBeNull();
    expect(healthText(device({ cordon: 'draining' }), english)).toMatch(/taken out of use/);
    expect(healthText(device({ state: 'missing' }), english)).toMatch(/does not find/);
    expect(healthText(device({ state: 'quarantined', reason: 'XID 79' }), english)).toBe(
      'Quarantined: XID 79. Ask your instructor.'
    );
    expect(healthText(device({ state: 'quarantined', reason: 'Reboot.' }), english)).toBe(
      'Quarantined: Reboot. Ask your instructor.'
    );
    expect(healthText(device({ state: 'quarantined' }), english)).toMatch(/instructor/);
  });

  test('the status bar says the worst', () => {
    const left = 72 * MINUTE;
    expect(leaseStatusText(lease(), left, null, english)).toBe('1 h 12 min left');
    expect(leaseStatusText(lease(), null, null, english)).toBeNull();
    expect(leaseStatusText(lease(), left, '14:35', english)).toBe('taken back at 14:35');
    const ill = lease({ devices: [device(), device({ state: 'missing' })] });
    expect(leaseStatusText(ill, left, '14:35', english)).toBe('GPU trouble');
  });

  test('what happens then', () => {
    const told = (of: Lease): string => whatHappensThen(view(of), '14:35', english).join('\n');
    expect(told(lease())).toMatch(/At 14:35 your server stops[^]*~\/work[^]*stays[^]*can extend/);
    expect(told(lease({ can_extend: false, extend_refusal: '2 people wait.' }))).toMatch(
      /cannot be extended now: 2 people wait\./
    );
    expect(told(lease({ reclaim_at: inMinutes(10) }))).toMatch(/not taken back if you say/);
  });
});

describe('the warning that is due', () => {
  const due = (minutes: number | null, of = lease()): number | null =>
    dueWarning(of, minutes === null ? null : minutes * MINUTE, [30, 10, 5])?.minutes ?? null;

  test.each([
    [null, null],
    [31, null],
    [30, 30],
    [10.1, 30],
    [10, 10],
    [5, 5],
    [0.1, 5],
    [0, null],
    [-1, null]
  ])('%s minutes before the end is that of %s', (left, minutes) => {
    expect(due(left)).toBe(minutes);
  });

  test('is another after an extension; after an automatic one only the last', () => {
    const key = (left: number, of: Lease): string | undefined =>
      dueWarning(of, left * MINUTE, [30, 10, 5])?.key;
    const later = { expires_at: '2026-05-01T12:15:00Z' };
    for (const left of [30, 10, 5]) {
      expect(key(left, lease({ ...later, extensions: 1 }))).not.toBe(key(left, lease()));
    }
    expect(key(30, lease(later))).toBe(key(30, lease()));
    expect(key(10, lease(later))).toBe(key(10, lease()));
    expect(key(5, lease(later))).not.toBe(key(5, lease()));
    expect(key(5, lease({ id: 'lease-2' }))).not.toBe(key(5, lease()));
  });
});

describe('the model', () => {
  test('counts down by itself, at each minute', async () => {
    let asked = 0;
    const model = new LeaseModel(
      fakeApi({
        lease: () => {
          asked += 1;
          return Promise.resolve(view(lease({ expires_at: inMinutes(2.5) })));
        }
      })
    );
    const seen: string[] = [];
    model.stateChanged.connect(() => seen.push(timeLeftText(model.left() ?? NaN, english)));
    await model.ask();
    await vi.advanceTimersByTimeAsync(3 * MINUTE);
    expect(seen).toEqual(['3 min left', '2 min left', '1 min left', 'time is up']);
    expect(asked).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([-5 * 60, 0, 7 * 60])(
    'a browser whose clock is wrong by %i minutes sees the same time left',
    async wrong => {
      const there = START + wrong * MINUTE;
      const model = new LeaseModel(
        fakeApi({
          lease: () =>
            Promise.resolve(
              view(lease({ expires_at: new Date(there + 12 * MINUTE).toISOString() }), {
                now: new Date(there).toISOString()
              })
            )
        })
      );
      await model.ask();
      expect(model.left()).toBe(12 * MINUTE);
      expect(model.isEnding).toBe(true);
      model.dispose();
    }
  );

  test('a service that does not answer leaves the countdown going', async () => {
    let answer = (): Promise<LeaseView> =>
      Promise.resolve(view(lease({ expires_at: inMinutes(90) })));
    const model = new LeaseModel(fakeApi({ lease: () => answer() }));
    await model.ask();
    answer = () => Promise.reject(new ApiError('network', ''));
    await expect(model.ask()).rejects.toThrow();
    await vi.advanceTimersByTimeAsync(30 * MINUTE);
    expect(model.left()).toBeLessThanOrEqual(60 * MINUTE);
    expect(model.lease?.id).toBe('lease-1');
    model.dispose();
  });

  test('an answer from before an extension does not undo it', async () => {
    let tell: (value: LeaseView) => void = () => undefined;
    const before = view(lease({ expires_at: inMinutes(5) }));
    const after = view(lease({ expires_at: inMinutes(65), extensions: 1 }));
    const model = new LeaseModel(
      fakeApi({
        lease: () => new Promise<LeaseView>(resolve => (tell = resolve)),
        extendLease: () => Promise.resolve(after)
      })
    );
    const asking = model.ask();
    expect(await model.extend()).toBe(true);
    tell(before);
    await asking;
    expect(model.lease?.extensions).toBe(1);
    model.dispose();
  });

  test('a refusal is kept to be shown, and goes with the next news', async () => {
    let granted = false;
    const model = new LeaseModel(
      fakeApi({
        lease: () => Promise.resolve(view(lease())),
        extendLease: () =>
          granted
            ? Promise.resolve(view(lease({ expires_at: inMinutes(300), extensions: 1 })))
            : Promise.reject(new ApiError('refused', '2 people wait.', 409))
      })
    );
    await model.ask();
    expect(await model.extend()).toBe(false);
    expect(model.state.error).toMatchObject({ message: '2 people wait.' });
    await model.ask();
    expect(model.state.error).toMatchObject({ message: '2 people wait.' });
    granted = true;
    expect(await model.extend()).toBe(true);
    expect(model.state).toMatchObject({ error: null, busy: null });
    model.dispose();
  });
});

/** What localStorage is: shared by the tabs of a browser. */
class FakeStorage {
  getItem(name: string): string | null {
    return (this as Record<string, unknown>)[name] === undefined
      ? null
      : String((this as Record<string, unknown>)[name]);
  }

  setItem(name: string, value: string): void {
    (this as Record<string, unknown>)[name] = value;
  }

  removeItem(name: string): void {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
    delete (this as Record<string, unknown>)[name];
  }
}

const storage = (): Storage => new FakeStorage() as unknown as Storage;

describe('what was told', () => {
  const claims = async (all: Promise<boolean>[]): Promise<boolean[]> => {
    const answers = Promise.all(all);
    await vi.advanceTimersByTimeAsync(1000);
    return answers;
  };

  test('one of many tabs gets it, and none after a reload', async () => {
    const shared = storage();
    const tabs = Array.from({ length: 6 }, () => new Told(shared, 'p:'));
    const first = await claims(tabs.map(tab => tab.claim('a')));
    expect(first.filter(Boolean)).toHaveLength(1);
    expect(await claims([new Told(shared, 'p:').claim('a')])).toEqual([false]);
    expect(await claims([new Told(shared, 'p:').claim('b')])).toEqual([true]);
    expect(await claims([new Told(shared, 'other server:').claim('a')])).toEqual([true]);
  });

  test('what belongs to earlier leases is forgotten', async () => {
    const shared = storage();
    const told = new Told(shared, 'p:');
    await claims([told.claim('one/30'), told.claim('two/30')]);
    told.keepOnly('two/');
    expect(Object.keys(shared)).toEqual(['p:two/30']);
  });

  test('a browser that keeps nothing is told once for each page', async () => {
    const broken = {
      getItem: () => {
        throw new DOMException('no');
      }
    } as unknown as Storage;
    for (const kept of [null, broken]) {
      const told = new Told(kept, 'p:');
      expect(await claims([told.claim('a'), told.claim('a')])).toEqual([true, false]);
      told.keepOnly('b');
    }
  });
});

interface Shown {
  message: string;
  type: Notification.TypeOptions;
  actions: Notification.IAction[];
}

/** A tab: what it shows, and a person who clicks. */
class Tab implements INotifications {
  readonly shown = new Map<string, Shown>();
  readonly everShown: string[] = [];
  visible = true;
  explained = 0;
  readonly texts: string[] = [];
  readonly model: LeaseModel;
  readonly notifier: Notifier;

  constructor(api: Partial<IApi>, kept: Storage | null) {
    this.model = new LeaseModel(fakeApi(api));
    this.notifier = new Notifier({
      model: this.model,
      notifications: this,
      told: new Told(kept, 'p:'),
      isVisible: () => this.visible,
      extend: () => void this.model.extend(),
      keep: () => void this.model.keep(),
      explain: () => (this.explained += 1),
      showText: text => this.texts.push(text),
      trans: english,
      language: 'en'
    });
  }

  emit(
    message: string,
    type: Notification.TypeOptions,
    options: { actions?: Notification.IAction[] }
  ): string {
    const id = `${this.everShown.push(message)}`;
    this.shown.set(id, { message, type, actions: options.actions ?? [] });
    return id;
  }

  dismiss(id: string): void {
    if (this.shown.delete(id)) {
      this._listener(id);
    }
  }

  onRemoved(listener: (id: string) => void): void {
    this._listener = listener;
  }

  get messages(): string[] {
    return [...this.shown.values()].map(one => one.message);
  }

  /** Clicks on an action as JupyterLab does: the notification goes, unless the click is taken. */
  click(label: string): void {
    for (const [id, one] of this.shown) {
      const found = one.actions.find(action => action.label === label);
      if (found) {
        const event = new Event('click', { cancelable: true }) as MouseEvent;
        found.callback(event);
        if (!event.defaultPrevented) {
          this.dismiss(id);
        }
        return;
      }
    }
    throw new Error(`Nothing says ${label}`);
  }

  /** Closes the notification with this text. */
  close(text: string): void {
    for (const [id, one] of this.shown) {
      if (one.message.includes(text)) {
        this.dismiss(id);
        return;
      }
    }
    throw new Error(`Nothing says ${text}`);
  }

  async see(): Promise<void> {
    await this.model.ask();
    await vi.advanceTimersByTimeAsync(500);
  }

  private _listener: (id: string) => void = () => undefined;
}

describe('the end is told', () => {
  let world: LeaseView;
  const api = (): Partial<IApi> => ({
    lease: () => Promise.resolve({ ...world, now: new Date().toISOString() }),
    extendLease: () => {
      const before = world.lease;
      const end = timeOf(before?.expires_at) ?? 0;
      world = view(lease({ expires_at: new Date(end + 60 * MINUTE).toISOString(), extensions: 1 }));
      return Promise.resolve(world);
    }
  });

  test('once at each threshold, the earlier one making room', async () => {
    world = view(lease({ expires_at: inMinutes(31) }));
    const tab = new Tab(api(), storage());
    await tab.see();
    expect(tab.messages).toEqual([]);
    await vi.advanceTimersByTimeAsync(1.5 * MINUTE); // nobody asks meanwhile
    expect(tab.messages).toEqual([expect.stringMatching(/^Your GPU lease ends in 30 min, at/)]);
    await vi.advanceTimersByTimeAsync(20 * MINUTE);
    expect(tab.messages).toEqual([expect.stringMatching(/ends in 10 min/)]);
    await vi.advanceTimersByTimeAsync(5 * MINUTE);
    expect(tab.messages).toEqual([expect.stringMatching(/ends in 5 min/)]);
    await vi.advanceTimersByTimeAsync(6 * MINUTE);
    expect(tab.messages).toEqual([]);
    expect(tab.everShown).toHaveLength(3);
  });

  test('in one of several tabs, and not again after a reload', async () => {
    world = view(lease({ expires_at: inMinutes(9) }));
    const kept = storage();
    const tabs = [new Tab(api(), kept), new Tab(api(), kept), new Tab(api(), kept)];
    await Promise.all(tabs.map(tab => tab.see()));
    expect(tabs.flatMap(tab => tab.everShown)).toHaveLength(1);
    const again = new Tab(api(), kept);
    await again.see();
    expect(again.everShown).toEqual([]);
    for (const tab of [...tabs, again]) {
      tab.model.dispose();
    }
  });

  test('where somebody looks', async () => {
    world = view(lease({ expires_at: inMinutes(9) }));
    const tab = new Tab(api(), storage());
    tab.visible = false;
    await tab.see();
    expect(tab.everShown).toEqual([]);
    tab.visible = true;
    void tab.notifier.update();
    await vi.advanceTimersByTimeAsync(500);
    expect(tab.messages).toHaveLength(1);
    tab.model.dispose();
  });

  test('and goes with an extension, after which it is told anew', async () => {
    world = view(lease({ expires_at: inMinutes(9) }));
    const tab = new Tab(api(), storage());
    await tab.see();
    tab.click('What happens then?');
    expect([tab.explained, tab.messages.length]).toEqual([1, 1]);
    tab.click('Extend');
    await vi.advanceTimersByTimeAsync(500);
    expect(tab.messages).toEqual([]);
    expect(tab.model.lease?.extensions).toBe(1);
    await vi.advanceTimersByTimeAsync(40 * MINUTE);
    expect(tab.messages).toEqual([expect.stringMatching(/ends in 30 min/)]);
    tab.model.dispose();
  });

  test('without an offer that would be refused', async () => {
    world = view(lease({ expires_at: inMinutes(9), can_extend: false }));
    const tab = new Tab(api(), storage());
    await tab.see();
    expect([...tab.shown.values()][0]?.actions.map(one => one.label)).toEqual([
      'What happens then?'
    ]);
    tab.model.dispose();
  });

  test('not to someone the server was shared with', async () => {
    world = view(lease({ expires_at: inMinutes(9), reclaim_at: inMinutes(9) }), { mine: false });
    const tab = new Tab(api(), storage());
    await tab.see();
    expect(tab.everShown).toEqual([]);
    tab.model.dispose();
  });
});

describe('the idle warning', () => {
  test('is told once, and answered', async () => {
    let world = view(lease({ reclaim_at: inMinutes(10) }));
    const tab = new Tab(
      {
        lease: () => Promise.resolve(world),
        keepLease: () => Promise.resolve((world = view(lease())))
      },
      storage()
    );
    await tab.see();
    await tab.see();
    expect(tab.messages).toEqual([
      expect.stringMatching(/^Your GPU does nothing and others wait: .* taken back at/)
    ]);
    tab.click('I am using it');
    await vi.advanceTimersByTimeAsync(500);
    expect(tab.model.lease?.reclaim_at).toBeNull();
    world = view(lease({ reclaim_at: inMinutes(25) })); // idle again
    await tab.see();
    expect(tab.everShown).toHaveLength(2);
    world = view(lease()); // it is used
    await tab.see();
    expect(tab.messages).toEqual([]);
    tab.model.dispose();
  });

  test('that is closed is not told again', async () => {
    const world = view(lease({ reclaim_at: inMinutes(10) }));
    const tab = new Tab({ lease: () => Promise.resolve(world) }, storage());
    await tab.see();
    tab.close('does nothing');
    await tab.see();
    expect(tab.everShown).toHaveLength(1);
    tab.model.dispose();
  });
});

describe('notices', () => {
  const notice = (id: number, kind = 'device_quarantined', text = `Notice ${id}`): Notice => ({
    id,
    at: null,
    kind,
    text
  });
  let unread: Notice[];
  const asked: number[] = [];
  const api = (): Partial<IApi> => ({
    lease: () => Promise.resolve(view(lease(), { notices: unread })),
    readNotices: upTo => {
      asked.push(upTo);
      unread = unread.filter(one => one.id > upTo);
      return Promise.resolve(view(lease(), { notices: unread }));
    }
  });

  beforeEach(() => {
    asked.length = 0;
  });

  test('are shown once and read when taken away, in their order', async () => {
    unread = [notice(3), notice(5, 'device_back'), notice(8, 'draining')];
    const tab = new Tab(api(), storage());
    await tab.see();
    await tab.see();
    expect(tab.everShown).toEqual(['Notice 3', 'Notice 5', 'Notice 8']);
    expect([...tab.shown.values()].map(one => one.type)).toEqual(['warning', 'success', 'warning']);
    tab.close('Notice 5'); // 3 is not read yet
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toEqual([]);
    tab.close('Notice 3');
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toEqual([5]);
    expect(tab.messages).toEqual(['Notice 8']);
    tab.click('Got it');
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toEqual([5, 8]);
    tab.model.dispose();
  });

  test('a message of a person is no warning', async () => {
    unread = [notice(3, 'message')];
    const tab = new Tab(api(), storage());
    await tab.see();
    expect([...tab.shown.values()].map(one => one.type)).toEqual(['info']);
    tab.model.dispose();
  });

  test('read in one tab go in the others', async () => {
    unread = [notice(3)];
    const [one, other] = [new Tab(api(), storage()), new Tab(api(), storage())];
    await one.see();
    await other.see();
    one.close('Notice 3');
    await other.see();
    expect(other.messages).toEqual([]);
    expect(asked).toEqual([3]);
    one.model.dispose();
    other.model.dispose();
  });

  test('that are long can be read to the end', async () => {
    const text = 'Your GPU was taken out of use. '.repeat(8);
    unread = [notice(3, 'draining', text)];
    const tab = new Tab(api(), storage());
    await tab.see();
    tab.click('Read all');
    expect(tab.texts).toEqual([text]);
    expect(tab.messages).toHaveLength(1);
    tab.model.dispose();
  });
});
