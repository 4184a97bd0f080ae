/**
 * What follows the dialogs of a reset: saving, moving, ending runs, asking the service, and what is told of it; then
 * the packages that are installed again.
 */
import { beforeEach, describe, expect, test } from 'vitest';

import { ApiError } from '../src/errors';
import { AgainNotifier, againLine, type IAgainNotices } from '../src/reset/againNotifier';
import { CarryOut, type CarryOutApi } from '../src/reset/carryOut';
import type { Agreed } from '../src/reset/model';
import type { InstallAgain, MovedFiles, PackageAgain, Run, RunState } from '../src/wire';
import { english, fakeApi, runOf, until } from './helpers';

const NEW: Agreed = { choice: 'new', again: ['six'], moves: ['a.txt'], runs: 0 };

/** What happened, in order. */
let log: string[];
let saves: boolean;
let agrees: boolean;
let runs: Run[];

const lab = {
  save: () => {
    log.push('save');
    return Promise.resolve(saves);
  },
  progress: (text: string) => {
    log.push(`+ ${text}`);
    return { say: (more: string) => void log.push(`= ${more}`), end: () => void log.push('-') };
  },
  ask: (title: string, lines: string[], accept: string) => {
    log.push(`? ${[title, ...lines, accept].join(' | ')}`);
    return Promise.resolve(agrees);
  },
  failed: (title: string, text: string) => {
    log.push(`! ${title} | ${text}`);
    return Promise.resolve();
  },
  told: (text: string, isGood: boolean) => void log.push(`${isGood ? 'good' : 'bad'}: ${text}`),
  saveLayout: () => Promise.resolve(void log.push('layout')),
  leaveFor: (url: string) => void log.push(`> ${url}`)
};

const server = (change: Partial<CarryOutApi> = {}): CarryOutApi =>
  fakeApi({
    reset: wish => {
      log.push(`reset ${JSON.stringify(wish)}`);
      return Promise.resolve({ progress_url: '/operations/1' });
    },
    moveToWork: paths => {
      log.push(`move ${paths.join()}`);
      return Promise.resolve({ moved: paths.map(path => ({ path, to: path })), failed: [] });
    },
    moving: () => Promise.resolve({ moving: null }),
    ddpRuns: () => Promise.resolve(runs),
    ddpStop: id => {
      log.push(`stop ${id}`);
      runs = runs.map(run => (run.id === id ? { ...run, state: 'stopped' } : run));
      return Promise.resolve(runOf());
    },
    ...change
  });

const carryOut = (change: Partial<CarryOutApi> = {}): CarryOut =>
  new CarryOut(server(change), lab, english, 1);

const run = (id: string, state: RunState): Run => runOf({ id, state });

beforeEach(() => {
  [log, saves, agrees, runs] = [[], true, true, []];
});

describe('a new environment', () => {
  test('documents are saved, files moved, then the service is asked, then one is led there', async () => {
    runs = [run('old', 'succeeded')];
    await carryOut().reset(NEW);
    expect(log).toEqual([
      'save',
      '+ Resetting…',
      '= Moving to your work folder, 1 of 1: a.txt',
      'move a.txt',
      '= Resetting…',
      'layout',
      'reset {"undo":false,"again":["six"]}',
      '> /operations/1'
    ]);
  });

  test('nothing happens where documents are not saved', async () => {
    saves = false;
    await carryOut().reset(NEW);
    expect(log).toEqual(['save']);
  });

  test('what could not be moved is told before anything goes', async () => {
    const moveToWork = (): ReturnType<CarryOutApi['moveToWork']> =>
      Promise.resolve({ moved: [], failed: [{ path: 'a.txt', why: 'No space is left.' }] });
    agrees = false;
    await carryOut({ moveToWork }).reset(NEW);
    expect(log.slice(-2)).toEqual([
      '? Some files were not moved | a.txt: No space is left. | They go with the environment, until the reset is undone. | Reset all the same',
      '-'
    ]);
    agrees = true;
    await carryOut({ moveToWork }).reset(NEW);
    expect(log.at(-1)).toBe('> /operations/1');
  });

  test('it is told which file is on its way, and what failed of any of them', async () => {
    const moveToWork = ([path]: string[]): ReturnType<CarryOutApi['moveToWork']> =>
      Promise.resolve({ moved: [], failed: path === 'b' ? [{ path, why: 'Why.' }] : [] });
    await carryOut({ moveToWork }).reset({ ...NEW, moves: ['a', 'b', 'c'] });
    expect(log.slice(2, 6)).toEqual([
      ...['1 of 3: a', '2 of 3: b', '3 of 3: c'].map(
        text => `= Moving to your work folder, ${text}`
      ),
      expect.stringContaining('? Some files were not moved | b: Why.')
    ]);
  });

  test('a thousand files are no thousand requests', async () => {
    const moves = Array.from({ length: 1000 }, (_, n) => `${n}`);
    const asked: string[][] = [];
    const moveToWork = (paths: string[]): ReturnType<CarryOutApi['moveToWork']> => {
      asked.push(paths);
      return Promise.resolve({ moved: [], failed: [] });
    };
    await carryOut({ moveToWork }).reset({ ...NEW, moves });
    expect(asked.length).toBe(50);
    expect(asked.flat()).toEqual(moves);
  });

  test('it is told how much of a large folder is copied', async () => {
    let end: (moved: MovedFiles) => void = () => undefined;
    const moveToWork = (): Promise<MovedFiles> => new Promise(resolve => (end = resolve));
    const looks = [
      { moving: null },
      { moving: { path: 'a', copied_bytes: 2 ** 20, total_bytes: null } },
      { moving: { path: 'a', copied_bytes: 2 ** 30, total_bytes: 3 * 2 ** 30 } },
      { moving: { path: 'a', copied_bytes: 2 ** 32, total_bytes: 3 * 2 ** 30 } }
    ];
    const moving = (): ReturnType<CarryOutApi['moving']> => {
      const look = looks.shift();
      if (!look) {
        end({ moved: [], failed: [] });
        return Promise.reject(new ApiError('network', ''));
      }
      return Promise.resolve(look);
    };
    await carryOut({ moveToWork, moving }).reset({ ...NEW, moves: ['a'] });
    expect(log.slice(2, 7)).toEqual([
      ...['a', 'a', 'a, 1 GiB of 3 GiB', 'a, 3 GiB of 3 GiB'].map(
        text => `= Moving to your work folder, 1 of 1: ${text}`
      ),
      '= Resetting…'
    ]);
  });

  test('a move whose reply is lost resets nothing', async () => {
    const moveToWork = (): Promise<never> => Promise.reject(new ApiError('network', ''));
    await carryOut({ moveToWork }).reset(NEW);
    expect(log.at(-1)).toMatch(/^! Reset environment \| /);
    expect(log.join()).not.toContain('reset {');
  });

  test('runs that were agreed to are ended first, and it is waited for', async () => {
    runs = [run('a', 'running'), run('b', 'failed'), run('c', 'starting')];
    await carryOut().reset({ ...NEW, moves: [], runs: 2 });
    expect(log.slice(2, 6)).toEqual(['= Ending DDP runs…', 'stop a', 'stop c', '= Resetting…']);
  });

  test('a run that began meanwhile is asked for', async () => {
    runs = [run('a', 'running'), run('b', 'running')];
    agrees = false;
    await carryOut().reset({ ...NEW, moves: [], runs: 1 });
    expect(log.slice(2)).toEqual([
      '? End the DDP runs that go on? | 2 DDP runs go on. They end with the server. | End and go on',
      '-'
    ]);
  });

  test('a run that cannot be stopped, and a list that cannot be had, do not keep one from it', async () => {
    runs = [run('a', 'running')];
    const ddpStop = (): Promise<never> => Promise.reject(new ApiError('fault', '', 500));
    await carryOut({ ddpStop }).reset({ ...NEW, runs: 1 });
    expect(log.at(-1)).toBe('> /operations/1');
    log = [];
    await carryOut({ ddpRuns: () => Promise.reject(new ApiError('network', '')) }).reset(NEW);
    expect(log.at(-1)).toBe('> /operations/1');
  });

  test.each([
    [new ApiError('refused', 'A reset is under way.', 409), /under way\. .*was not changed\.$/],
    [new ApiError('network', ''), /It may have begun all the same/],
    [new ApiError('unavailable', 'The service is away.', 503), /away\.$/]
  ])('a failure is told as what it is: %s', async (error, text) => {
    await carryOut({ reset: () => Promise.reject(error) }).reset(NEW);
    expect(log.at(-2)).toBe('-');
    expect(log.at(-1)).toMatch(text);
  });
});

test('an undo names the environment, where there is one to name', async () => {
  runs = [run('a', 'running')];
  await carryOut().undo({ generation: 2, runs: 1 });
  expect(log.slice(-4)).toEqual([
    '= Bringing the old environment back…',
    'layout',
    'reset {"undo":true,"generation":2}',
    '> /operations/1'
  ]);
  await carryOut().undo({ generation: null, runs: 0 });
  expect(log.at(-2)).toBe('reset {"undo":true}');
});

describe('the milder ones', () => {
  const kernels = (restarted: string[], failed: string[]) => ({
    restartKernels: () => Promise.resolve({ restarted, failed })
  });
  const only = (choice: 'kernels' | 'packages'): Agreed => ({
    choice,
    again: [],
    moves: [],
    runs: 0
  });

  test.each([
    [['a', 'b'], [], 'good: 2 kernels are restarted.'],
    [[], [], 'good: No kernel is running.'],
    [
      ['a'],
      ['b'],
      'bad: 1 kernel is restarted. 1 kernel did not restart: shut it down in its notebook.'
    ]
  ])('kernels %j, failed %j', async (restarted, failed, told) => {
    await carryOut(kernels(restarted, failed)).reset(only('kernels'));
    expect(log).toEqual(['save', '+ Restarting kernels…', told, '-']);
  });

  test('packages', async () => {
    const removePackages = (): ReturnType<CarryOutApi['removePackages']> =>
      Promise.resolve({ removed: 3, kernels: { restarted: ['a'], failed: [] } });
    await carryOut({ removePackages }).reset(only('packages'));
    expect(log.slice(2)).toEqual(['good: 3 packages are removed. 1 kernel is restarted.', '-']);
  });

  test('a refusal is told', async () => {
    const removePackages = (): Promise<never> =>
      Promise.reject(new ApiError('refused', 'It is being done already.', 409));
    await carryOut({ removePackages }).reset(only('packages'));
    expect(log.at(-1)).toBe(
      '! Remove what I installed | It is being done already. Your environment was not changed.'
    );
  });
});

describe('packages that are installed again', () => {
  const one = (name: string, state: PackageAgain['state'], why = ''): PackageAgain => ({
    name,
    version: '1.0',
    state,
    why
  });
  let shown: string[];
  let explained: string[];
  let removed: () => void;
  let forgotten: number;

  const notices: IAgainNotices = {
    show: (text, kind, details) => {
      shown.push(`${kind}: ${text}`);
      details();
    },
    onRemoved: listener => {
      removed = listener;
    }
  };

  function follow(...answers: (InstallAgain | Error)[]): Promise<void> {
    const api = fakeApi({
      installAgain: () => {
        const answer = answers.shift();
        return answer instanceof Error || !answer
          ? Promise.reject(answer ?? new Error('asked too often'))
          : Promise.resolve(answer);
      },
      forgetInstallAgain: () => {
        forgotten += 1;
        return Promise.resolve();
      }
    });
    const explain = (lines: string[]): void => {
      explained = lines;
    };
    return new AgainNotifier({ api, notices, explain, trans: english, everyMs: 1 }).follow();
  }

  beforeEach(() => {
    [shown, explained, forgotten] = [[], [], 0];
  });

  test('are told of one by one, each state once, with the reasons of failures', async () => {
    const [a, b] = ['six', 'broken'];
    await follow(
      { state: 'waiting', packages: [one(a, 'waiting'), one(b, 'waiting')] },
      { state: 'installing', packages: [one(a, 'installing'), one(b, 'waiting')] },
      new ApiError('network', ''),
      { state: 'installing', packages: [one(a, 'installing'), one(b, 'waiting')] },
      { state: 'installing', packages: [one(a, 'installed'), one(b, 'installing')] },
      { state: 'done', packages: [one(a, 'installed'), one(b, 'failed', 'No wheel fits.')] }
    );
    expect(shown).toEqual([
      'in-progress: Installing packages again: 0 of 2 done',
      'in-progress: Installing packages again: 0 of 2 done, now six',
      'in-progress: Installing packages again: 1 of 2 done, now broken',
      'warning: 1 of 2 packages are installed again. Not installed: broken.'
    ]);
    expect(explained).toEqual(['six 1.0: installed', 'broken 1.0: not installed. No wheel fits.']);
    expect(forgotten).toBe(0);
    removed();
    await until(() => forgotten === 1);
  });

  test('all are there', async () => {
    await follow({ state: 'done', packages: [one('six', 'installed')] });
    expect(shown).toEqual(['success: 1 package is installed again.']);
    expect(forgotten).toBe(1); // there is nothing to be read again
    removed();
    expect(forgotten).toBe(1);
  });

  test('several failed', async () => {
    const packages = ['a', 'b', 'c'].map(name => one(name, 'failed'));
    await follow({ state: 'done', packages: [...packages, one('six', 'installed')] });
    expect(shown).toEqual([
      'warning: 1 of 4 packages are installed again. Not installed: a and 2 more.'
    ]);
  });

  test('nothing is told where there is nothing, or to whom it does not belong', async () => {
    await follow({ state: 'none', packages: [] });
    await follow(new ApiError('missing', '', 404));
    await follow(new ApiError('signed-out', 'Only ada may.', 403));
    expect(shown).toEqual([]);
  });

  test('a notification that is taken away while it goes on is not forgotten by the server', async () => {
    const answers: InstallAgain[] = [{ state: 'installing', packages: [one('a', 'installing')] }];
    await follow(...answers, new ApiError('missing', '', 404));
    removed();
    expect(forgotten).toBe(0);
  });

  test('a server that never answers is left alone in the end', async () => {
    await follow();
    expect(shown).toEqual([]);
  });

  test('each in words', () => {
    expect(againLine({ ...one('a', 'failed'), why: null }, english)).toBe('a 1.0: not installed');
    expect(againLine(one('a', 'waiting'), english)).toBe('a 1.0: waits');
    expect(againLine(one('a', 'installing'), english)).toBe('a 1.0: is being installed');
  });
});
