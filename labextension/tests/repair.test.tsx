// @vitest-environment jsdom
/**
 * Repairs in the doctor's panel: consent, progress, the examination after it, and what is said when it goes wrong.
 */
import './dom';

import { act, cleanup, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { Dialog } from '@jupyterlab/apputils';
import type { KernelSpec } from '@jupyterlab/services';
import { MessageLoop } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { DoctorModel } from '../src/doctor/model';
import { DoctorPanel } from '../src/doctor/panel';
import { RepairModel } from '../src/doctor/repairModel';
import { ApiError } from '../src/errors';
import type { ExaminationEvent, Finding, RepairEvent, RepairKind, Report } from '../src/wire';
import { Deferred, english, fakeApi } from './helpers';

const COMMAND = 'pip uninstall --yes six';

const finding = (code: string, kind: RepairKind | null): Finding => ({
  code,
  severity: 'blocker',
  title: `Title ${code}`,
  evidence: [],
  fix: `Fix ${code}`,
  who: 'you',
  repair: kind && {
    kind,
    command: kind === 'here' ? COMMAND : '',
    says: ['It uninstalls six.'],
    loses: ['Your six.'],
    undo: ['Install it again.'],
    then: ['Restart kernels.']
  }
});

const report = (findings: Finding[]): Report => ({
  started_at: new Date().toISOString(),
  seconds: 1,
  kernel: 'python3',
  verdict: findings.length ? 'blocked' : 'healthy',
  findings,
  facts: {},
  checks_passed: ['driver'],
  checks_skipped: ['torch', 'host'],
  checks_unexamined: ['host'],
  skipped_because: { host: 'host: no answer', torch: 'GC311' }
});

/** Answers that come when the test lets them. */
class Stream<T> {
  private _events: (T | Error | null)[] = [];
  private _waiting: (() => void)[] = [];

  async say(...events: (T | Error | null)[]): Promise<void> {
    await act(async () => {
      this._events.push(...events);
      this._waiting.splice(0).forEach(wake => wake());
      await settle();
    });
  }

  async *read(): AsyncGenerator<T> {
    for (;;) {
      while (this._events.length === 0) {
        await new Promise<void>(resolve => this._waiting.push(resolve));
      }
      const event = this._events.shift() as T | Error | null;
      if (event === null) {
        return;
      }
      if (event instanceof Error) {
        throw event;
      }
      yield event;
    }
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) {
    await new Promise(resolve => setTimeout(resolve, 0));
    MessageLoop.flush();
  }
}

const specs = {
  specs: { default: 'python3', kernelspecs: { python3: { display_name: 'Python 3' } } },
  specsChanged: new Signal({})
} as unknown as KernelSpec.IManager;

let panel: DoctorPanel;
/** What the next examinations find. */
let finds: Finding[];
let examined: number;
let chosen: string[];
let asked: { code: string; command: string }[];
let repairing: Stream<RepairEvent>;
let running: (() => string)[];
let stopped: number;
let done: string[];
let busy: Deferred<void> | null;

const api = fakeApi({
  lastReport: () => Promise.reject(new ApiError('missing', '', 404)),
  examine: async function* (kernel, _, kernelId): AsyncGenerator<ExaminationEvent> {
    examined += 1;
    chosen = [kernel, kernelId ?? ''];
    await busy?.promise;
    yield {
      event: 'finished',
      report: { ...report(finds), kernel, kernel_id: kernelId ?? '' }
    };
  },
  repair: (code, command) => {
    asked.push({ code, command });
    return repairing.read();
  },
  repairs: () => {
    const answer = running.shift();
    return answer
      ? Promise.resolve({ kernel: '', running: answer(), repairs: [] })
      : Promise.reject(new ApiError('missing', 'There is no report yet.', 404));
  },
  stopRepair: () => {
    stopped += 1;
    return Promise.resolve({ stopped: true });
  }
});

async function open(...findings: Finding[]): Promise<void> {
  finds = findings;
  await act(async () => {
    const model = new DoctorModel(api, 'python3', 1);
    panel = new DoctorPanel(model, specs, english);
    panel.repairs = {
      model: new RepairModel(api, model, 1),
      actions: {
        restart: () => done.push('restart') > 0,
        reset: choice => void done.push(`reset ${choice}`),
        kernels: () => [
          { id: 'a', name: 'python3', label: 'train.ipynb', isBusy: true },
          { id: 'b', name: 'other', label: 'plot.ipynb', isBusy: false }
        ],
        shutDown: ids => {
          done.push(...ids);
          return Promise.resolve();
        }
      },
      examine: () => void model.examine()
    };
    Widget.attach(panel, document.body);
    void model.open();
    await settle();
  });
}

const offer = (code = 'GC311'): HTMLElement => screen.getByTestId(`gpucamp-repair-${code}`);
const dialog = (): HTMLElement => screen.getByTestId('gpucamp-repair-dialog');
const part = (): HTMLElement => screen.getByTestId('gpucamp-repair');
/** What the part's heading says, and the same aloud. */
const state = (): string | null => {
  const said = within(part()).getByRole('heading').textContent;
  expect(screen.getByRole('status').textContent).toBe(said);
  return said;
};
const press = async (keys: string): Promise<void> => {
  await userEvent.keyboard(keys);
  await act(settle);
};
const click = async (element: HTMLElement): Promise<void> => {
  await userEvent.click(element);
  await act(settle);
};
const answer = async (name: string): Promise<void> =>
  click(within(dialog()).getByRole('button', { name, hidden: true }));
const consent = async (): Promise<void> => {
  await click(offer());
  await answer('Repair');
};

beforeEach(() => {
  [examined, asked, running, stopped, done, busy] = [0, [], [], 0, [], null];
  repairing = new Stream();
});

afterEach(() => {
  Dialog.flush();
  MessageLoop.flush();
  panel.dispose();
  cleanup();
});

test('what is asked shows what is done, the command, what is lost and the way back', async () => {
  await open(finding('GC311', 'here'), finding('GC401', null));
  expect(screen.queryByTestId('gpucamp-repair-GC401')).toBeNull();
  expect(offer().getAttribute('aria-label')).toBe('Repair… Title GC311');
  await click(offer());
  const text = dialog().textContent;
  for (const words of ['Title GC311', 'It uninstalls six.', 'Your six.', 'Install it again.']) {
    expect(text).toContain(words);
  }
  expect(within(dialog()).getByTestId('gpucamp-repair-command').textContent).toBe(COMMAND);
  expect(asked).toEqual([]);
  await answer('Cancel');
  expect(asked).toEqual([]);
  expect(document.activeElement).toBe(offer());
});

test('the Enter that opens it does not agree to it, and Escape leads back', async () => {
  await open(finding('GC311', 'here'));
  offer().focus();
  await press('{Enter}');
  expect(dialog()).toBeTruthy();
  await press('{Enter}');
  expect(asked).toEqual([]);
  expect(document.activeElement).toBe(offer());
  await press('{Enter}');
  await press('{Escape}');
  expect(screen.queryByTestId('gpucamp-repair-dialog')).toBeNull();
  expect(document.activeElement).toBe(offer());
});

test('its words are shown as they come, then the finding is gone and the focus is not lost', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  expect(asked).toEqual([{ code: 'GC311', command: COMMAND }]);
  expect(state()).toBe('Repairing: Title GC311');
  expect(offer().getAttribute('aria-disabled')).toBe('true');
  await click(offer()); // does nothing meanwhile
  expect(screen.queryByTestId('gpucamp-repair-dialog')).toBeNull();
  offer().focus();
  await repairing.say({ event: 'output', text: 'Uninstalling six\n' });
  await repairing.say({ event: 'output', text: 'Done <b>\n' });
  expect(part().querySelector('pre')?.textContent).toBe(
    `$ ${COMMAND}\nUninstalling six\nDone <b>\n`
  );
  await repairing.say({ event: 'repaired', code: 'GC311', then: ['Restart kernels.'] });
  expect(state()).toBe('Examining again: Title GC311');
  await repairing.say({ event: 'started', kernel: 'python3', checks: 2 });
  await repairing.say({ event: 'finished', report: report([]) });
  expect(screen.queryByTestId('gpucamp-finding-GC311')).toBeNull();
  expect(document.activeElement).toBe(within(part()).getByRole('heading'));
  await repairing.say(null);
  expect(state()).toBe('Mended: Title GC311');
  expect(part().textContent).toContain('Restart kernels.');
  expect(examined).toBe(1); // the events of the repair were the examination
  expect(screen.queryByTestId('gpucamp-finding-GC311')).toBeNull();
  expect(document.activeElement).toBe(within(part()).getByRole('heading'));
  await click(within(part()).getByRole('button', { name: 'Close' }));
  expect(screen.queryByTestId('gpucamp-repair')).toBeNull();
  expect(screen.getByRole('status').textContent).toBe('');
  expect(document.activeElement).toBe(screen.getByRole('heading', { level: 1 }));
});

test('what remains is said', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  await repairing.say({ event: 'repaired', code: 'GC311', then: [] });
  await repairing.say({ event: 'finished', report: report([finding('GC311', 'here')]) }, null);
  expect(state()).toBe('This is still there: Title GC311');
  expect(offer().getAttribute('aria-disabled')).toBe('false');
});

test('a refusal is told in the words of the server, and the kernel is examined anew', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  const words = 'This repair does not fit any more, so nothing was done. Examine again.';
  await repairing.say(new ApiError('refused', words, 409));
  expect(within(part()).getByRole('alert').textContent).toBe(words);
  expect(state()).toBe('Not mended: Title GC311');
  expect(examined).toBe(2);
});

test('a server that was restarted is asked again once it has examined', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  await repairing.say(
    new ApiError('missing', 'There is no report yet; examine a kernel first.', 404)
  );
  expect(examined).toBe(2);
  expect(asked).toHaveLength(2);
  expect(state()).toBe('Repairing: Title GC311');
  expect(within(part()).queryByRole('alert')).toBeNull();
  await repairing.say({ event: 'repaired', code: 'GC311', then: [] });
  await repairing.say({ event: 'finished', report: report([]) }, null);
  expect(state()).toBe('Mended: Title GC311');
});

test('what the restarted server does not offer any more is not done', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  finds = [finding('GC311', null)];
  await repairing.say(
    new ApiError('missing', 'There is no report yet; examine a kernel first.', 404)
  );
  expect(asked).toHaveLength(1);
  expect(state()).toBe('Not mended: Title GC311');
});

test('what is shown is mended and examined again, whatever was chosen to be next', async () => {
  await open(finding('GC311', 'here'));
  const choice = screen.getByRole<HTMLSelectElement>('combobox', { name: 'Kernel' });
  await userEvent.selectOptions(choice, 'plot.ipynb · other');
  await consent();
  await repairing.say(new ApiError('refused', 'This repair does not fit any more.', 409));
  expect(chosen).toEqual(['python3', '']);
  expect(state()).toBe('Not mended: Title GC311');
});

test('after a lost reply it waits for the end of the repair, and says what is then', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  finds = [];
  running = [() => 'GC311', () => 'GC311'];
  await repairing.say({ event: 'output', text: 'Uninstalling' }, new ApiError('network', ''));
  await act(async () => {
    await new Promise(resolve => setTimeout(resolve, 60));
    await settle();
  });
  expect(running).toEqual([]);
  expect(examined).toBe(2);
  expect(state()).toBe('Mended: Title GC311');
});

test('a stream that ends too early is a lost reply, too', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  await repairing.say(null);
  expect(examined).toBe(2);
  expect(state()).toBe('Not mended: Title GC311');
});

test('a repair can be stopped; what is left is examined', async () => {
  await open(finding('GC311', 'here'));
  await consent();
  await click(within(part()).getByRole('button', { name: 'Stop the repair' }));
  expect(stopped).toBe(1);
  await repairing.say({ event: 'error', status: 503, message: 'It was stopped.' }, null);
  expect(within(part()).getByRole('alert').textContent).toBe('It was stopped.');
  expect(examined).toBe(2);
});

test('other kinds lead to the place that does it', async () => {
  await open(
    finding('GC103', 'restart'),
    finding('GC203', 'packages'),
    finding('GC144', 'kernels')
  );
  expect(offer('GC203').textContent).toBe('Remove what I installed…');
  await click(offer('GC203'));
  expect(done).toEqual(['reset packages']);
  await click(offer('GC103'));
  expect(dialog().textContent).toContain('Stop My Server');
  await answer('Open JupyterHub’s page');
  expect(done).toEqual(['reset packages', 'restart']);
  await click(offer('GC144'));
  expect(within(dialog()).getByLabelText('train.ipynb (busy)')).toBeTruthy();
  await click(within(dialog()).getByLabelText('plot.ipynb (idle)'));
  await answer('Shut down');
  expect(done).toEqual(['reset packages', 'restart', 'b']);
  expect(examined).toBe(2);
  await click(offer('GC144'));
  await answer('Shut down'); // none chosen
  expect(done).toHaveLength(3);
  expect(examined).toBe(2);
});

test('a kernel is restarted by the server after consent, and examined again', async () => {
  const command = 'POST api/kernels/1a2b/restart';
  const ill = finding('GC722', 'kernel');
  await open(
    { ...ill, repair: ill.repair && { ...ill.repair, command } },
    finding('GC711', 'kernel')
  );
  await click(offer('GC711')); // of a process that was examined in a terminal
  expect(screen.queryByTestId('gpucamp-repair-dialog')).toBeNull();
  expect(screen.getByRole('alert').textContent).toContain('Kernel > Restart Kernel…');
  await click(offer('GC722'));
  expect(within(dialog()).getByTestId('gpucamp-repair-command').textContent).toBe(command);
  expect(asked).toEqual([]);
  await answer('Restart the kernel');
  expect(asked).toEqual([{ code: 'GC722', command }]);
  await repairing.say({ event: 'repaired', code: 'GC722', then: ['Run the cells.'] });
  await repairing.say({ event: 'started', kernel: 'python3', checks: 2 });
  await repairing.say({ event: 'finished', report: report([]) }, null);
  expect(state()).toBe('Mended: Title GC722');
});

test('a finding of an examination that goes on offers nothing yet', async () => {
  await open(finding('GC311', 'here'));
  busy = new Deferred();
  await click(screen.getByRole('button', { name: 'Examine again' }));
  expect(offer().getAttribute('aria-disabled')).toBe('true');
  await act(async () => {
    busy?.resolve();
    await settle();
  });
  expect(offer().getAttribute('aria-disabled')).toBe('false');
});

test('kernels that run can be examined, too, by the name of their notebook', async () => {
  await open();
  expect(chosen).toEqual(['python3', '']);
  const choice = screen.getByRole<HTMLSelectElement>('combobox', { name: 'Kernel' });
  await userEvent.selectOptions(choice, 'plot.ipynb · other');
  await click(screen.getByRole('button', { name: 'Examine' }));
  expect(chosen).toEqual(['other', 'b']);
  expect(screen.getByText(/^Kernel plot.ipynb, examined/)).toBeTruthy();
  expect(choice.value).toBe('running:b');
  await click(screen.getByRole('button', { name: 'Examine again' }));
  expect(chosen).toEqual(['other', 'b']);
  await userEvent.selectOptions(choice, 'Python 3');
  await click(screen.getByRole('button', { name: 'Examine' }));
  expect(chosen).toEqual(['python3', '']);
});

test('checks without an answer are not among those that were not needed', async () => {
  await open();
  expect(screen.getByText(/Checks without an answer: 1/)).toBeTruthy();
  expect(screen.getByText('host (host: no answer)')).toBeTruthy();
  expect(screen.getByText(/Skipped checks: 1/)).toBeTruthy();
  expect(screen.getByText('torch (GC311)')).toBeTruthy();
});
