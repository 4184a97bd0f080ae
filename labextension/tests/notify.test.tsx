// @vitest-environment jsdom
import './dom';

import { act, cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test, vi } from 'vitest';

import { BrowserNotices } from '../src/ddp/browserNotices';
import { EndNotifier } from '../src/ddp/endNotifier';
import { endText } from '../src/ddp/endText';
import { LaunchModel } from '../src/ddp/launchModel';
import { NotifyChoice, NotifyOfRun } from '../src/ddp/notifyPart';
import { Wishes } from '../src/ddp/wishes';
import { ApiError } from '../src/errors';
import { TestId } from '../src/testids';
import type { Run, RunState } from '../src/wire';
import { Browser, english, fakeApi, runOf, until } from './helpers';

const PREFIX = 'wish:';
const notifiers: EndNotifier[] = [];

afterEach(() => {
  cleanup();
  notifiers.splice(0).forEach(one => one.dispose());
  localStorage.clear();
  vi.unstubAllGlobals();
});

/** Two tabs of a browser: what one writes, the other is told, as browsers do. */
class Tab extends EventTarget {
  readonly others: Tab[] = [];
  readonly storage = {
    getItem: (key: string) => localStorage.getItem(key),
    setItem: (key: string, value: string) => {
      localStorage.setItem(key, value);
      this._tell(key, value);
    },
    removeItem: (key: string) => {
      localStorage.removeItem(key);
      this._tell(key, null);
    }
  } as unknown as Storage;
  readonly wishes = new Wishes(this.storage, PREFIX, this);

  private _tell(key: string, newValue: string | null): void {
    for (const other of this.others) {
      other.dispatchEvent(new StorageEvent('storage', { key, newValue }));
    }
  }
}

function twoTabs(): [Tab, Tab] {
  const tabs: [Tab, Tab] = [new Tab(), new Tab()];
  tabs[0].others.push(tabs[1]);
  tabs[1].others.push(tabs[0]);
  return tabs;
}

function notifier(
  wishes: Wishes,
  answer: (id: string) => Promise<Run>
): { told: Run[]; asked: string[] } {
  const told: Run[] = [];
  const asked: string[] = [];
  notifiers.push(
    new EndNotifier({
      api: fakeApi({
        ddpRun: id => {
          asked.push(id);
          return answer(id);
        }
      }),
      wishes,
      tell: run => told.push(run),
      every: 3
    })
  );
  return { told, asked };
}

test('an end is told once, and then nothing is asked any more', async () => {
  const { wishes } = new Tab();
  let state: RunState = 'running';
  const { told, asked } = notifier(wishes, id => Promise.resolve(runOf({ id, state })));
  expect(asked).toEqual([]);
  wishes.set('a', true);
  await until(() => asked.length > 2);
  expect(told).toEqual([]);
  state = 'failed';
  await until(() => told.length > 0);
  expect(wishes.has('a')).toBe(false);
  const count = asked.length;
  await new Promise(resolve => setTimeout(resolve, 20));
  expect([told.length, asked.length]).toEqual([1, count]);
});

test('what one tab wishes, every open tab tells', async () => {
  const [one, other] = twoTabs();
  let state: RunState = 'running';
  const answer = (id: string): Promise<Run> => Promise.resolve(runOf({ id, state }));
  const here = notifier(one.wishes, answer);
  const there = notifier(other.wishes, answer);
  one.wishes.set('a', true);
  expect(other.wishes.has('a')).toBe(true);
  await until(() => here.asked.length > 0 && there.asked.length > 0);
  state = 'succeeded';
  await until(() => here.told.length > 0 && there.told.length > 0);
  await new Promise(resolve => setTimeout(resolve, 20));
  expect([here.told.length, there.told.length]).toEqual([1, 1]);
});

test('a wish that is taken back in another tab is not told', async () => {
  const [one, other] = twoTabs();
  const there = notifier(other.wishes, id => Promise.resolve(runOf({ id, state: 'running' })));
  one.wishes.set('a', true);
  one.wishes.set('a', false);
  await until(() => there.asked.length > 0);
  await new Promise(resolve => setTimeout(resolve, 10));
  expect([there.told, other.wishes.all()]).toEqual([[], []]);
});

test('a run that ended while no tab was open is told by the next one', async () => {
  localStorage.setItem(`${PREFIX}a`, String(Date.now()));
  localStorage.setItem(`${PREFIX}old`, '1000');
  localStorage.setItem('of another', '1');
  const wishes = new Wishes(localStorage, PREFIX, new EventTarget());
  expect(wishes.all()).toEqual(['a']);
  const { told } = notifier(wishes, id => Promise.resolve(runOf({ id })));
  await until(() => told.length === 1);
  expect(Object.keys(localStorage)).toEqual(['of another']);
});

test('a server that does not answer is asked again; a run without a record is forgotten', async () => {
  const { wishes } = new Tab();
  let count = 0;
  const { told } = notifier(wishes, id => {
    count += 1;
    return count < 3
      ? Promise.reject(new ApiError('network', ''))
      : id === 'gone'
        ? Promise.reject(new ApiError('missing', '', 404))
        : Promise.resolve(runOf({ id }));
  });
  wishes.set('a', true);
  wishes.set('gone', true);
  await until(() => wishes.all().length === 0);
  expect(told.map(run => run.id)).toEqual(['a']);
});

test('where the browser keeps nothing, a wish holds for the page', () => {
  const refuses = {
    setItem: () => {
      throw new DOMException('no', 'QuotaExceededError');
    }
  } as unknown as Storage;
  for (const storage of [null, refuses]) {
    const wishes = new Wishes(storage, PREFIX, new EventTarget());
    wishes.set('a', true);
    expect(wishes.has('a')).toBe(true);
  }
});

test.each([
  ['granted', 'By the browser and in JupyterLab'],
  ['denied', 'the browser refuses notifications'],
  ['default', 'unless the browser is allowed'],
  ['unsupported', 'they need https']
] as const)('with the permission "%s" it is said where one is told', async (permission, text) => {
  const browser = new Browser('default', permission);
  const Drawn = (): React.ReactElement => {
    const [wished, wish] = React.useState(false);
    return <NotifyChoice browser={browser} wished={wished} wish={wish} trans={english} />;
  };
  render(<Drawn />);
  expect(screen.getByRole('status').textContent).toBe('');
  await userEvent.click(screen.getByLabelText('Notify me when it ends'));
  expect(screen.getByRole('status').textContent).toContain(text);
  expect(browser.asked).toBe(1);
  await userEvent.click(screen.getByTestId(TestId.ddpNotify));
  expect(screen.getByRole('status').textContent).toBe('');
  expect(browser.asked).toBe(1);
});

test('a run that goes on can be wished for, also from another tab; one that is over cannot', async () => {
  const [one, other] = twoTabs();
  const notify = { wishes: one.wishes, browser: new Browser('granted') };
  const { rerender } = render(
    <NotifyOfRun run={runOf({ id: 'a', state: 'running' })} notify={notify} trans={english} />
  );
  const box = screen.getByTestId(TestId.ddpNotify);
  await userEvent.click(box);
  expect(other.wishes.has('a')).toBe(true);
  act(() => other.wishes.set('a', false));
  expect(box).toHaveProperty('checked', false);
  rerender(<NotifyOfRun run={runOf({ id: 'a' })} notify={notify} trans={english} />);
  expect(screen.queryByTestId(TestId.ddpNotify)).toBeNull();
});

test('the form wishes for what it launches, and for nothing that does not start', async () => {
  const wished: string[] = [];
  let fails = true;
  const model = new LaunchModel({
    api: fakeApi({
      ddpPlan: () => Promise.resolve({ command: 'x', warnings: [] }),
      ddpLaunch: () =>
        fails
          ? Promise.reject(new ApiError('refused', 'no', 400))
          : Promise.resolve(runOf({ id: 'new' }))
    }),
    scripts: () => Promise.resolve([]),
    wish: id => wished.push(id)
  });
  model.edit({ script: 'a.py', processes: '2' });
  model.setNotify(true);
  await model.launch();
  expect(wished).toEqual([]);
  fails = false;
  await model.launch();
  model.setNotify(false);
  await model.launch();
  expect(wished).toEqual(['new']);
  model.dispose();
});

test.each([
  ['succeeded', 'The run of a.py succeeded.', 'success'],
  ['failed', 'The run of a.py failed.', 'error'],
  ['stopped', 'The run of a.py was stopped.', 'info'],
  ['lost', 'The run of a.py has ended, and nobody saw how.', 'error']
] as const)('the end "%s" in words', (state, title, type) => {
  const diagnosis = { cause: 'No memory.', fix: 'Less.', rank: 0, evidence: null };
  const told = endText(runOf({ state, script: 'x/a.py', diagnosis }), english);
  expect(told).toEqual({ title, type, body: 'After 1:05. No memory.' });
  expect(endText(runOf({ state, started_at: null }), english).body).toBe('');
});

test("the browser's notices: shown where allowed, brought to the front by a click", async () => {
  const made: { title: string; onclick: () => void; close: () => void }[] = [];
  class Notices {
    static permission = 'default';
    static requestPermission = (): Promise<string> => {
      Notices.permission = 'granted';
      return Promise.resolve('granted');
    };
    onclick = (): void => undefined;
    close = vi.fn();
    constructor(readonly title: string) {
      made.push(this);
    }
  }
  const page = { isSecureContext: true, Notification: Notices, focus: vi.fn() };
  const browser = new BrowserNotices(page as unknown as Window & typeof globalThis);
  const clicked = vi.fn();
  browser.show('early', '', 't', clicked);
  expect(await browser.ask()).toBe('granted');
  browser.show('late', '', 't', clicked);
  expect(made.map(one => one.title)).toEqual(['late']);
  made[0]?.onclick();
  expect(page.focus).toHaveBeenCalledOnce();
  expect(clicked).toHaveBeenCalledOnce();
  page.isSecureContext = false;
  expect(browser.permission()).toBe('unsupported');
  browser.show('never', '', 't', clicked);
  expect(made).toHaveLength(1);
});

test('a browser whose notices throw, or that has none, breaks nothing', async () => {
  const Throws = Object.assign(
    function (): void {
      throw new TypeError('Illegal constructor');
    },
    { permission: 'granted', requestPermission: () => Promise.reject(new Error('no')) }
  );
  for (const Kind of [Throws, undefined]) {
    const page = { isSecureContext: true, Notification: Kind };
    const browser = new BrowserNotices(page as unknown as Window & typeof globalThis);
    browser.show('a', 'b', 'c', () => undefined);
    expect(await browser.ask()).toBe(Kind ? 'granted' : 'unsupported');
  }
});
