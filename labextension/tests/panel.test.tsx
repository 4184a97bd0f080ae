// @vitest-environment jsdom
/**
 * The doctor's panel as a person meets it: drawn in a document, driven by keyboard and clicks.
 */
import './dom';

import { act, cleanup, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import type { KernelSpec } from '@jupyterlab/services';
import { MessageLoop } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { DoctorModel } from '../src/doctor/model';
import { DoctorPanel } from '../src/doctor/panel';
import { ApiError } from '../src/errors';
import type { ExaminationEvent, Finding, Report, Severity } from '../src/wire';
import { english, fakeApi } from './helpers';

const finding = (code: string, severity: Severity, more: Partial<Finding> = {}): Finding => ({
  code,
  severity,
  title: `Title ${code}`,
  evidence: [`Evidence ${code}`],
  fix: `Fix ${code}`,
  who: 'you',
  ...more
});

const report = (findings: Finding[], more: Partial<Report> = {}): Report => ({
  started_at: new Date().toISOString(),
  seconds: 1.25,
  kernel: 'python3',
  verdict: findings.length ? 'blocked' : 'healthy',
  findings,
  facts: {},
  checks_passed: ['driver'],
  checks_skipped: ['torch'],
  ...more
});

const agoMinutes = (minutes: number): string =>
  new Date(Date.now() - minutes * 60_000).toISOString();

/** A server whose examinations say what the test says, when it says it. */
class Server {
  last: Report | ApiError = new ApiError('missing', 'There is no report yet.', 404);
  readonly asked: string[] = [];
  private _waiting: (() => void)[] = [];
  private _events: (ExaminationEvent | Error | null)[] = [];

  readonly api = fakeApi({
    lastReport: () =>
      this.last instanceof ApiError ? Promise.reject(this.last) : Promise.resolve(this.last),
    examine: (kernel, signal) => {
      this.asked.push(kernel);
      this._events = [];
      return this._stream(signal);
    }
  });

  /** The next event; an error breaks the stream, null ends it. */
  async say(event: ExaminationEvent | Error | null): Promise<void> {
    await act(async () => {
      this._events.push(event);
      this._waiting.forEach(wake => wake());
      await settle();
    });
  }

  async find(one: Finding): Promise<void> {
    await this.say({ event: 'finding', finding: one });
  }

  async finish(of: Report): Promise<void> {
    await this.say({ event: 'finished', report: of });
    await this.say(null);
  }

  private async *_stream(signal: AbortSignal): AsyncGenerator<ExaminationEvent> {
    for (;;) {
      const event = this._events.shift();
      if (event === null) {
        return;
      }
      if (event instanceof Error) {
        throw event;
      }
      if (event) {
        yield event;
        continue;
      }
      await new Promise<void>((resolve, reject) => {
        this._waiting.push(resolve);
        signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
      });
    }
  }
}

/** Lets promises and Lumino's messages (drawing is one) do their work. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) {
    await new Promise(resolve => setTimeout(resolve, 0));
    MessageLoop.flush();
  }
}

const specs = {
  specs: {
    default: 'python3',
    kernelspecs: {
      python3: { display_name: 'Python 3 (PyTorch 2.9)' },
      other: { display_name: 'Other' }
    }
  },
  specsChanged: new Signal({})
} as unknown as KernelSpec.IManager;

let server: Server;
let panel: DoctorPanel;
let copied: string[];

async function open(how: 'open' | 'resume' = 'open'): Promise<void> {
  await act(async () => {
    const model = new DoctorModel(server.api, 'python3', 1);
    panel = new DoctorPanel(model, specs, english);
    Widget.attach(panel, document.body);
    void model[how]();
    await settle();
  });
}

const button = (name: string): HTMLElement => screen.getByRole('button', { name });
const items = (): HTMLElement[] =>
  within(screen.getByRole('list', { name: '' })).getAllByRole('listitem');
const codes = (): string[] => items().map(one => one.dataset['testid']?.slice(-3) ?? '');
const row = (code: string): HTMLElement => screen.getByTestId(`gpucamp-finding-${code}`);
const news = (): string[] => [...screen.getByRole('log').children].map(one => one.textContent);
const verdict = (): string => screen.getByRole('heading', { level: 1 }).textContent;

const click = async (element: HTMLElement): Promise<void> => {
  await userEvent.click(element);
  await act(settle);
};

const press = async (keys: string): Promise<void> => {
  await userEvent.keyboard(keys);
  await act(settle);
};

beforeEach(() => {
  server = new Server();
  copied = [];
  // As a browser does it: the page's listeners fill in what is put on the clipboard.
  const execCommand = (name: string): boolean => {
    const event = new Event(name, { bubbles: true, cancelable: true });
    const setData = (_: string, text: string): void => void copied.push(text);
    document.body.dispatchEvent(Object.assign(event, { clipboardData: { setData } }));
    return true;
  };
  Object.assign(document, { execCommand });
});

afterEach(() => {
  panel.dispose();
  cleanup();
});

describe('findings', () => {
  test('come as they are found, worst first, one line each with its fix', async () => {
    await open();
    expect(server.asked).toEqual(['python3']);
    expect(screen.queryAllByRole('listitem')).toEqual([]);
    const mark = (): string | undefined =>
      panel.node.querySelector('.gpucamp-Mark-large')?.textContent;
    await server.find(finding('GC101', 'advice'));
    expect(mark()).toBe('…'); // not yet that all is well
    await server.find(finding('GC202', 'blocker', { who: 'instructor' }));
    expect(mark()).toBe('✗');
    await server.find(finding('GC303', 'degraded'));
    expect(codes()).toEqual(['202', '303', '101']);
    expect(verdict()).toBe('2 problems found so far');
    const line = row('GC202').querySelector('summary');
    expect(line?.textContent).toBe('✗Problem Title GC202Fix: Fix GC202 Ask your instructor');
    await server.finish(report([finding('GC101', 'advice'), finding('GC202', 'blocker')]));
    expect(codes()).toEqual(['202', '101']);
    expect(verdict()).toBe('1 problem found');
    expect(screen.getByTestId('gpucamp-doctor-verdict').dataset).toMatchObject({
      phase: 'finished',
      verdict: 'blocked'
    });
  });

  test('unfold to the command, what was seen, and the page of their code', async () => {
    await open();
    const docs_url = '/user/ada/gpucamp/doctor/findings/GC202';
    const command = 'pip uninstall -y six';
    await server.finish(report([finding('GC202', 'blocker', { docs_url, command })]));
    const details = row('GC202').querySelector('details');
    expect(details?.open).toBe(false);
    await click(screen.getByText('Title GC202'));
    expect(details?.open).toBe(true);
    expect(screen.getByText(command).tagName).toBe('CODE');
    expect(screen.getByText('Evidence GC202').tagName).toBe('PRE');
    const link = screen.getByRole('link', { name: 'What GC202 means' });
    expect(link.getAttribute('href')).toBe(docs_url);
    expect(link.getAttribute('rel')).toContain('noopener');
    await click(within(row('GC202')).getByRole('button', { name: 'Copy the command of GC202' }));
    expect(copied).toEqual([command]);
  });

  test('stay unfolded, and keep the focus, while others come and when they are confirmed', async () => {
    server.last = report([finding('GC202', 'degraded')], { started_at: agoMinutes(5) });
    await open();
    await click(screen.getByText('Title GC202'));
    const line = row('GC202').querySelector('summary');
    line?.focus();
    await server.find(finding('GC101', 'blocker'));
    await server.find(finding('GC202', 'degraded', { title: 'Newer title' }));
    await server.finish(
      report([finding('GC101', 'blocker'), finding('GC202', 'degraded', { title: 'Newest' })])
    );
    expect(row('GC202').querySelector('details')?.open).toBe(true);
    expect(row('GC202').textContent).toContain('Newest');
    expect(document.activeElement).toBe(row('GC202').querySelector('summary'));
  });

  test('have a link only to an address that is harmless', async () => {
    await open();
    await server.finish(
      report([
        finding('GC202', 'blocker', { docs_url: 'javascript:alert(1)', evidence: '<b>x</b>' })
      ])
    );
    expect(screen.queryByRole('link')).toBeNull();
    expect(row('GC202').querySelector('pre')?.textContent).toBe('<b>x</b>');
  });
});

describe('the report', () => {
  test('is copied as text for a chat and as JSON for a machine', async () => {
    await open();
    const whole = report([finding('GC202', 'blocker')]);
    await server.finish(whole);
    await click(button('Copy as text'));
    expect(copied[0]).toBe(
      [
        'GPU doctor: 1 problem found',
        'Kernel: python3',
        '',
        '✗ GC202 Problem: Title GC202',
        '  Fix: Fix GC202 (You can do this)',
        '  | Evidence GC202',
        ''
      ].join('\n')
    );
    expect(button('✓ Copied')).toBeTruthy();
    await click(button('Copy as JSON'));
    expect(JSON.parse(copied[1] ?? '')).toEqual(whole);
  });

  test('names the checks, and why some were skipped', async () => {
    await open();
    await server.finish(report([], { skipped_because: { torch: 'GC311' } }));
    expect(screen.getByText(/Passed checks: 1/)).toBeTruthy();
    expect(screen.getByText('torch (GC311)')).toBeTruthy();
  });

  test('that the server could not keep is said to be lost, and why', async () => {
    await open();
    await server.finish(report([], { not_kept: 'No space left on device.' }));
    expect(screen.getByRole('alert').textContent).toBe(
      'This report could not be kept: No space left on device. Copy it if you want to have it later.'
    );
  });

  test('that was kept says nothing of it', async () => {
    await open();
    await server.finish(report([], { not_kept: '' }));
    expect(screen.queryByRole('alert')).toBeNull();
  });
});

describe('the last report', () => {
  test('is there at once with its age, and goes when the new one has come', async () => {
    server.last = report([finding('GC202', 'blocker'), finding('GC101', 'advice')], {
      started_at: agoMinutes(5)
    });
    await open();
    expect(verdict()).toBe('Examining…'); // what is old is no verdict
    expect(screen.getByText(/you also see the last report, from 5 min ago/)).toBeTruthy();
    expect(codes()).toEqual(['202', '101']);
    expect(row('GC202').textContent).toContain('from the last report');
    await server.find(finding('GC202', 'blocker'));
    expect(row('GC202').textContent).not.toContain('from the last report');
    expect(row('GC101').textContent).toContain('from the last report');
    await server.finish(report([finding('GC202', 'blocker')]));
    expect(codes()).toEqual(['202']);
    expect(
      screen.getByText('Kernel Python 3 (PyTorch 2.9), examined just now; it took 1.3 s')
    ).toBeTruthy();
  });

  test('stays in view through each new examination: the list is never empty in between', async () => {
    await open();
    await server.finish(report([finding('GC202', 'blocker')]));
    const counts: number[] = [];
    const seen = new MutationObserver(() => counts.push(screen.queryAllByRole('listitem').length));
    seen.observe(panel.node, { childList: true, subtree: true, characterData: true });
    await click(button('Examine again'));
    expect(verdict()).toBe('Examining…');
    await server.find(finding('GC202', 'blocker'));
    await server.finish(report([finding('GC202', 'blocker')]));
    seen.disconnect();
    expect(server.asked).toHaveLength(2);
    expect(counts.length).toBeGreaterThan(0);
    expect(Math.min(...counts)).toBe(1);
  });

  test('of another kernel is not shown as if it were of this one', async () => {
    server.last = report([finding('GC202', 'blocker')], { kernel: 'other' });
    await open();
    expect(screen.queryAllByRole('listitem')).toEqual([]);
  });

  test('is what a restored panel shows, with the offer to examine again', async () => {
    server.last = report([finding('GC202', 'blocker')], { started_at: agoMinutes(125) });
    await open('resume');
    expect(server.asked).toEqual([]);
    expect(screen.getByText(/examined 2 h 5 min ago/)).toBeTruthy();
    expect(button('Examine again')).toBeTruthy();
  });

  test('of a kernel that ran is restored as one of that kernel, which may have ended', async () => {
    server.last = report([finding('GC711', 'degraded')], { kernel_id: 'b-1' });
    await open('resume');
    const choice = screen.getByRole<HTMLSelectElement>('combobox', { name: 'Kernel' });
    expect(choice.selectedOptions[0]?.textContent).toBe('Python 3 (PyTorch 2.9) (has ended)');
    expect(button('Examine again')).toBeTruthy();
    await userEvent.selectOptions(choice, 'Python 3 (PyTorch 2.9)');
    await act(settle);
    expect(button('Examine')).toBeTruthy();
    expect(choice.selectedOptions[0]?.textContent).toBe('Python 3 (PyTorch 2.9)');
  });

  test('and what was found stay when the examination is stopped', async () => {
    server.last = report([finding('GC101', 'advice')], { started_at: agoMinutes(5) });
    await open();
    await server.find(finding('GC202', 'blocker'));
    await click(button('Stop'));
    expect(verdict()).toBe('The examination was stopped');
    expect(codes()).toEqual(['202', '101']);
    await click(button('Copy as text'));
    expect(copied[0]).toContain('i GC101 Advice: Title GC101 (from the last report)');
    await click(button('Copy as JSON'));
    expect(JSON.parse(copied[1] ?? '')).toMatchObject({ phase: 'cancelled', last_report: {} });
  });
});

describe('an error', () => {
  test('two doctors at once: who examines, and what to do; what is known stays', async () => {
    server.last = report([finding('GC101', 'advice')], { started_at: agoMinutes(5) });
    await open();
    const words = 'The doctor is examining the kernel other right now; wait until it is done.';
    await server.say(new ApiError('refused', words, 409));
    expect(screen.getByRole('alert').textContent).toBe(`✗${words}Try again`);
    expect(codes()).toEqual(['101']);
    expect(verdict()).toBe('Not examined');
    await click(button('Try again'));
    expect(server.asked).toHaveLength(2);
    expect(screen.queryByRole('alert')).toBeNull();
  });

  test.each([
    ['the network', new ApiError('network', ''), /does not answer\. Check your network/],
    ['a stopped server', new ApiError('stopped', '', 424), /not running\. Reload this page/],
    ['a session that ended', new ApiError('signed-out', '', 403), /Reload this page to sign in/],
    ['a fault', new ApiError('fault', '', 500), /made an error \(500\)\. Try again/],
    [
      'a traceback',
      new ApiError('fault', 'Traceback (most recent call last):\n  File "x.py"', 500),
      /made an error \(500\)\. Try again/
    ],
    [
      'a mistake in the page',
      new TypeError('x is not\n    at y.js:1'),
      /in this page: x is not\. Reload/
    ]
  ])('%s is a sentence that says what to do', async (_, error, words) => {
    await open();
    await server.say(error);
    const text = screen.getByRole('alert').textContent;
    expect(text).toMatch(words);
    expect(panel.node.textContent).not.toMatch(/Traceback|File "|y\.js/);
    expect(verdict()).toBe('The examination did not finish');
  });

  test('the server that still ends what was left here is waited for', async () => {
    await open();
    await server.find(finding('GC202', 'blocker'));
    await act(async () => {
      void panel.model.examine('other');
      await settle();
    });
    await server.say(new ApiError('refused', 'The doctor is examining the kernel python3.', 409));
    await waitFor(() => expect(server.asked).toEqual(['python3', 'other', 'other']));
    await server.finish(report([], { kernel: 'other' }));
    expect(screen.queryByRole('alert')).toBeNull();
    expect(verdict()).toBe('Everything is fine');
  });
});

describe('the focus', () => {
  test('goes to the verdict when the button that had it did its work and is gone', async () => {
    await open();
    await server.say(new ApiError('network', ''));
    await click(button('Try again'));
    expect(verdict()).toBe('Examining…');
    expect(document.activeElement).toBe(screen.getByRole('heading', { level: 1 }));
    await press('{Tab}');
    expect(document.activeElement).toBe(screen.getByRole('combobox', { name: 'Kernel' }));
  });

  test('goes to the verdict when the finding that had it is gone', async () => {
    await open();
    await server.finish(report([finding('GC202', 'blocker')]));
    await click(button('Examine again'));
    row('GC202').querySelector('summary')?.focus();
    await server.finish(report([]));
    expect(document.activeElement).toBe(screen.getByRole('heading', { level: 1 }));
  });

  test('is not taken from who has left the panel', async () => {
    await open();
    await server.finish(report([finding('GC202', 'blocker')]));
    await click(button('Examine again'));
    const line = row('GC202').querySelector('summary');
    line?.focus();
    line?.blur();
    await server.finish(report([]));
    expect(document.activeElement).toBe(document.body);
  });
});

describe('for who does not see it', () => {
  test('each change is announced once, politely, and never the list again', async () => {
    server.last = report([finding('GC404', 'degraded')], { started_at: agoMinutes(5) });
    await open();
    const log = screen.getByRole('log');
    expect(log.getAttribute('aria-live')).toBe('polite');
    expect(log.getAttribute('aria-atomic')).not.toBe('true');
    expect(news()).toEqual(['Examining the kernel python3']);
    await server.find(finding('GC202', 'blocker'));
    await server.find(finding('GC101', 'advice'));
    await server.say({ event: 'probe', name: 'torch', seconds: 1, decided: 3 });
    await server.finish(report([finding('GC202', 'blocker'), finding('GC101', 'advice')]));
    expect(news()).toEqual([
      'Examining the kernel python3',
      'Problem: Title GC202',
      'Advice: Title GC101',
      '1 problem found\n1 finding of the last report is gone'
    ]);
  });

  test('a failure is an alert, and so is not announced twice', async () => {
    await open();
    await server.say(new ApiError('network', ''));
    expect(screen.getAllByRole('alert')).toHaveLength(1);
    expect(news()).toEqual(['Examining the kernel python3']);
    expect(screen.queryByRole('status')).toBeNull();
  });

  test('headings have an order without gaps, and marks are not read', async () => {
    await open();
    await server.finish(report([finding('GC202', 'blocker')]));
    const levels = [...panel.node.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(one =>
      Number(one.tagName.slice(1))
    );
    expect(levels).toEqual([1, 2, 3, 4]);
    expect(screen.getByRole('heading', { level: 3 }).textContent).toBe('Problem Title GC202');
    panel.node.querySelectorAll('.gpucamp-Mark').forEach(mark => {
      expect(mark.getAttribute('aria-hidden')).toBe('true');
    });
  });

  test('everything that can be used has a name', async () => {
    await open();
    await server.say({ event: 'started', kernel: 'python3', checks: 9 });
    expect(screen.getByRole('progressbar', { name: 'Progress of the examination' })).toBeTruthy();
    expect(screen.getByRole('combobox', { name: 'Kernel' })).toBeTruthy();
    await server.finish(report([finding('GC202', 'blocker', { command: 'true' })]));
    for (const one of panel.node.querySelectorAll('button, a, summary')) {
      expect(one.textContent.trim(), one.outerHTML).not.toBe('');
    }
    expect(screen.getByRole('group', { name: 'What was seen' }).tagName).toBe('PRE');
  });

  test('no two buttons have the same name', async () => {
    await open();
    const command = 'pip uninstall -y six';
    await server.finish(
      report([finding('GC202', 'blocker', { command }), finding('GC101', 'advice', { command })])
    );
    const names = screen
      .getAllByRole('button', { hidden: true })
      .map(one => one.getAttribute('aria-label') ?? one.textContent);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain('Copy the command of GC101');
  });

  test('that something was copied is said', async () => {
    await open();
    await server.finish(report([]));
    await click(button('Copy as text'));
    const said = [...panel.node.querySelectorAll('[aria-live="polite"]')];
    expect(said.filter(one => one.textContent === 'Copied')).toHaveLength(1);
  });

  test('advice by and for oneself does not say whose it is', async () => {
    await open();
    await server.finish(
      report([
        finding('GC101', 'advice'),
        finding('GC202', 'advice', { who: 'instructor' }),
        finding('GC303', 'degraded')
      ])
    );
    expect(row('GC101').textContent).not.toContain('You can do this');
    expect(row('GC202').textContent).toContain('Ask your instructor');
    expect(row('GC303').textContent).toContain('You can do this');
  });
});

describe('by keyboard', () => {
  test('the way goes from the kernel to the button, the findings, the checks and the copies', async () => {
    const plain = { evidence: [] }; // jsdom would lead into what is folded
    await open();
    await server.finish(
      report([finding('GC101', 'advice', plain), finding('GC202', 'blocker', plain)], {
        checks_skipped: []
      })
    );
    panel.node.focus();
    const way: string[] = [];
    for (let step = 0; step < 7; step++) {
      await userEvent.tab();
      way.push(document.activeElement?.textContent ?? '');
    }
    expect(way).toEqual([
      'Python 3 (PyTorch 2.9)Other',
      'Examine again',
      expect.stringContaining('GC202'),
      expect.stringContaining('GC101'),
      '✓ Passed checks: 1',
      'Copy as text',
      'Copy as JSON'
    ]);
  });

  test('the button keeps the focus when it turns from Examine into Stop and back', async () => {
    await open();
    await server.finish(report([]));
    button('Examine again').focus();
    await press('{Enter}');
    expect(document.activeElement).toBe(button('Stop'));
    await press('{Enter}');
    expect(document.activeElement).toBe(button('Examine again'));
  });

  test('passing by a kernel does not examine it; the button does', async () => {
    await open();
    await server.finish(report([finding('GC202', 'blocker')]));
    const choice = screen.getByRole('combobox', { name: 'Kernel' });
    await userEvent.selectOptions(choice, 'other');
    await act(settle);
    expect(server.asked).toEqual(['python3']);
    expect(codes()).toEqual(['202']); // still what is known of the one before, under its name
    expect(screen.getByText(/^Kernel Python 3 \(PyTorch 2.9\), examined/)).toBeTruthy();
    await click(button('Examine'));
    expect(server.asked).toEqual(['python3', 'other']);
  });

  test('Escape folds the details, leads back to their line, and loses nothing', async () => {
    await open();
    await server.find(finding('GC202', 'blocker'));
    await click(screen.getByText('Title GC202'));
    screen.getByLabelText('What was seen').focus();
    await press('{Escape}');
    expect(row('GC202').querySelector('details')?.open).toBe(false);
    expect(document.activeElement).toBe(row('GC202').querySelector('summary'));
    await press('{Escape}');
    expect(button('Stop')).toBeTruthy(); // the examination goes on
    expect(codes()).toEqual(['202']);
  });
});
