import { describe, expect, test } from 'vitest';

import {
  EMPTY_FORM,
  formOf,
  joinArguments,
  serverPath,
  splitArguments,
  toRequest
} from '../src/ddp/form';
import { LaunchModel } from '../src/ddp/launchModel';
import { RunModel } from '../src/ddp/runModel';
import { durationText, elapsedSeconds, toMillis } from '../src/ddp/runText';
import { findScripts, MAXIMUM_FOLDERS, MAXIMUM_SCRIPTS } from '../src/ddp/scripts';
import { ApiError } from '../src/errors';
import type { IApi } from '../src/api';
import type { LaunchDefaults, LaunchPlan, LaunchRequest, LogEvent, Run } from '../src/wire';
import { Deferred, fakeApi, until } from './helpers';

const DEFAULTS: LaunchDefaults = { processes: 2, max_processes: 4, backend: 'gloo' };
const FORM = { ...EMPTY_FORM, script: 'a.py', processes: '2' };

const run = (more: Partial<Run> = {}): Run => ({
  id: '1',
  script: 'a.py',
  command: 'torchrun /home/jovyan/work/a.py',
  processes: 2,
  state: 'running',
  started_at: '2026-01-01T00:00:00.000Z',
  ended_at: null,
  exit_code: null,
  diagnosis: null,
  ...more
});

describe('arguments', () => {
  test.each([
    ['', []],
    ['  a   b\tc\nd ', ['a', 'b', 'c', 'd']],
    ['--name "two words"', ['--name', 'two words']],
    ['--x=\'a "b" c\'', ['--x=a "b" c']],
    ['a\\ b \\"', ['a b', '"']],
    ['"" \'\'', ['', '']],
    ['"a\\"b\\n"', ['a"b\\n']],
    ['$HOME *.py ~ ; rm -rf / | `id`', ['$HOME', '*.py', '~', ';', 'rm', '-rf', '/', '|', '`id`']],
    ['end\\', ['end\\']],
    ['漢字 é', ['漢字', 'é']]
  ])('%j is split into %j', (text, words) => {
    expect(splitArguments(text)).toEqual(words);
  });

  test.each(['"open', "it's", '"a\\"'])('%j is not closed', text => {
    expect(splitArguments(text)).toBeNull();
  });

  test('joined and split again are the same', () => {
    const words = ['', ' ', "it's", '"q"', 'a\nb', '\\', '$x', '--lr=0.1', '漢', '`', ';'];
    expect(splitArguments(joinArguments(words))).toEqual(words);
  });
});

describe('the form', () => {
  test('is a request when it can be one', () => {
    const form = {
      ...EMPTY_FORM,
      script: ' RTC:/x/a.py ',
      processes: ' 3 ',
      arguments: '-a "b c"',
      folder: '/x'
    };
    expect(toRequest(form, DEFAULTS)).toEqual({
      request: { script: 'x/a.py', processes: 3, arguments: ['-a', 'b c'], working_directory: 'x' }
    });
    expect(toRequest(FORM, null)).toEqual({
      request: { script: 'a.py', processes: 2, arguments: [] }
    });
  });

  test.each([
    [{ script: '' }, 'script', 'no-script'],
    [{ script: 'a.txt' }, 'script', 'not-python'],
    [{ script: 'a.ipynb' }, 'script', 'notebook'],
    [{ processes: '' }, 'processes', 'not-a-number'],
    [{ processes: '1.5' }, 'processes', 'not-a-number'],
    [{ processes: '1e1' }, 'processes', 'not-a-number'],
    [{ processes: '-1' }, 'processes', 'not-a-number'],
    [{ processes: '0' }, 'processes', 'out-of-range'],
    [{ processes: '5' }, 'processes', 'out-of-range'],
    [{ processes: '9'.repeat(400) }, 'processes', 'out-of-range'],
    [{ arguments: '"' }, 'arguments', 'open-quote'],
    [{ module: true }, 'script', 'not-a-module'],
    [{ module: true, script: 'a/b' }, 'script', 'not-a-module'],
    [{ module: true, script: '1a' }, 'script', 'not-a-module'],
    [{ variables: "A='x" }, 'variables', 'open-quote'],
    [{ variables: 'A=1 B' }, 'variables', 'not-a-variable'],
    [{ variables: '=1' }, 'variables', 'not-a-variable'],
    [{ threads: '0' }, 'threads', 'not-a-number'],
    [{ threads: 'all' }, 'threads', 'not-a-number'],
    [{ restarts: '-1' }, 'restarts', 'not-a-number'],
    [{ restarts: '11' }, 'restarts', 'out-of-range'],
    [{ ranks: '2' }, 'ranks', 'not-ranks'],
    [{ ranks: '0,' }, 'ranks', 'not-ranks'],
    [{ ranks: '0-1' }, 'ranks', 'not-ranks']
  ])('%j is refused at %s: %s', (change, field, reason) => {
    expect(toRequest({ ...FORM, ...change }, DEFAULTS)).toEqual({ problem: { field, reason } });
  });

  test('names a module', () => {
    const form = { ...FORM, module: true, script: ' pack.träin_2 ' };
    expect(toRequest(form, DEFAULTS)).toEqual({
      request: { module: 'pack.träin_2', processes: 2, arguments: [] }
    });
  });

  test('has in the request what was chosen, and nothing else', () => {
    const form = {
      ...FORM,
      variables: 'A=1\nB="x y" C==',
      threads: ' 3 ',
      ncclDebug: 'INFO',
      restarts: '2',
      ranks: '1, 0'
    };
    const environment = { A: '1', B: 'x y', C: '=', OMP_NUM_THREADS: '3', NCCL_DEBUG: 'INFO' };
    const chosen = { environment, max_restarts: 2, local_ranks_filter: [1, 0] };
    expect(toRequest(form, DEFAULTS)).toEqual({
      request: { script: 'a.py', processes: 2, arguments: [], ...chosen }
    });
    const earlier = run({ environment, max_restarts: 2, hidden_ranks: [0] });
    expect(formOf(earlier)).toMatchObject({ threads: '3', ncclDebug: 'INFO', ranks: '1' });
    expect(toRequest(formOf(earlier), DEFAULTS)).toEqual({
      request: {
        ...{ script: 'a.py', processes: 2, arguments: [] },
        ...{ ...chosen, local_ranks_filter: [1] }
      }
    });
  });

  test('any variable comes back as it was', () => {
    const environment = { A: '', B: "it's", C: 'a\nb "q" \\ $x', D: '漢 字' };
    expect(toRequest(formOf(run({ environment })), DEFAULTS)).toMatchObject({
      request: { environment }
    });
  });

  test('a run of a module comes back with its folder', () => {
    const log = '--log-dir "/home/my user/work/.gpucamp/runs/x/ranks"';
    const earlier = { script: 'pack.train', is_module: true, command: `torchrun ${log} -m x` };
    const folder = (working_directory: string): string =>
      formOf(run({ ...earlier, working_directory })).folder;
    expect(formOf(run(earlier))).toMatchObject({ module: true, script: 'pack.train' });
    expect(folder('/home/my user/work')).toBe('');
    expect(folder('/home/my user/work/data/x')).toBe('data/x');
  });

  test('a path loses the drive and the leading slash, not a colon of its own', () => {
    expect(serverPath('RTC:examples/a.py')).toBe('examples/a.py');
    expect(serverPath('/examples/a:b.py')).toBe('examples/a:b.py');
    expect(serverPath('dir/a:b.py')).toBe('dir/a:b.py');
  });

  test('an earlier run comes back as it was', () => {
    const command = "torchrun --nproc-per-node 2 '/home/my user/work/sub/a.py' x";
    const earlier = run({ script: 'sub/a.py', command, arguments: ['x y'] });
    const folder = (working_directory: string): string =>
      formOf({ ...earlier, working_directory }).folder;
    expect(formOf(earlier)).toMatchObject({ script: 'sub/a.py', arguments: "'x y'" });
    expect(folder('/home/my user/work/sub')).toBe('');
    expect(folder('/home/my user/work/data/x')).toBe('data/x');
    expect(folder('/home/my user/work')).toBe('.');
    expect(folder('data')).toBe('data');
  });
});

describe('times', () => {
  test('are read in seconds and in ISO 8601', () => {
    expect(toMillis(1.5)).toBe(1500);
    expect(toMillis('1970-01-01T00:00:01.500Z')).toBe(1500);
    expect(toMillis('yesterday')).toBeNull();
    expect(toMillis(null)).toBeNull();
  });

  test('make durations', () => {
    expect([0, 59.9, 60, 3599, 3661].map(durationText)).toEqual([
      '0 s',
      '59 s',
      '1:00',
      '59:59',
      '1:01:01'
    ]);
    expect(elapsedSeconds(run(), Date.parse('2026-01-01T00:01:00Z'))).toBe(60);
    expect(elapsedSeconds(run({ state: 'lost' }), Date.now())).toBeNull();
    expect(
      elapsedSeconds(run({ state: 'failed', ended_at: '2026-01-01T00:00:05Z' }), Date.now())
    ).toBe(5);
  });
});

describe('findScripts', () => {
  test('lists shallow scripts first and leaves out what is not the user’s', async () => {
    const tree: Record<string, [string, string][]> = {
      '': [
        ['z.py', 'file'],
        ['a.PY', 'file'],
        ['notes.txt', 'file'],
        ['.venv', 'directory'],
        ['examples', 'directory'],
        ['node_modules', 'directory'],
        ['denied', 'directory']
      ],
      examples: [['ddp.py', 'file']]
    };
    const asked: string[] = [];
    const scripts = await findScripts(path => {
      asked.push(path);
      const entries = tree[path];
      return entries
        ? Promise.resolve(
            entries.map(([name, type]) => ({ name, type, path: path ? `${path}/${name}` : name }))
          )
        : Promise.reject(new Error('403'));
    });
    expect(scripts).toEqual(['a.PY', 'z.py', 'examples/ddp.py']);
    expect(asked).toEqual(['', 'denied', 'examples']);
  });

  test('is bounded, whatever the folder holds', async () => {
    let asked = 0;
    const scripts = await findScripts(path => {
      asked += 1;
      const of = (count: number, type: string, end: string) =>
        Array.from({ length: count }, (_, at) => ({
          name: `${at}${end}`,
          type,
          path: `${path}/${at}${end}`
        }));
      return Promise.resolve([...of(100, 'directory', ''), ...of(4, 'file', '.py')]);
    });
    expect(asked).toBe(MAXIMUM_FOLDERS);
    expect(scripts.length).toBeLessThanOrEqual(MAXIMUM_SCRIPTS);
  });
});

describe('LaunchModel', () => {
  const model = (known: Partial<IApi>): LaunchModel =>
    new LaunchModel({
      api: fakeApi({
        ddpDefaults: () => Promise.resolve(DEFAULTS),
        ddpRuns: () => Promise.resolve([]),
        ...known
      }),
      scripts: () => Promise.resolve(['a.py']),
      quiet: 5,
      runsEvery: 5
    });
  const plan = (command: string): LaunchPlan => ({ id: `id-${command}`, command, warnings: [] });

  test('asks once for a plan when typing pauses, and shows only the plan of the form as it is', async () => {
    const asked: [LaunchRequest, Deferred<LaunchPlan>, AbortSignal | undefined][] = [];
    const launch = model({
      ddpPlan: (request, signal) => {
        const answer = new Deferred<LaunchPlan>();
        asked.push([request, answer, signal]);
        return answer.promise;
      }
    });
    await launch.load();
    launch.edit({ script: 'a' });
    launch.edit({ script: 'a.p' });
    launch.edit({ script: 'a.py' });
    await until(() => asked.length === 1);
    launch.edit({ processes: '3' });
    expect(asked[0]?.[2]?.aborted).toBe(true);
    await until(() => asked.length === 2);
    asked[1]?.[1].resolve(plan('new'));
    await until(() => launch.state.plan !== null);
    asked[0]?.[1].resolve(plan('old'));
    await new Promise(resolve => setTimeout(resolve, 10));
    expect(launch.state.plan?.command).toBe('new');
    expect(asked.map(([request]) => request.processes)).toEqual([2, 3]);
    launch.edit({ arguments: '"' });
    expect(launch.state).toMatchObject({ plan: null, problem: { reason: 'open-quote' } });
    launch.dispose();
  });

  test('keeps what was entered before the defaults came', async () => {
    const defaults = new Deferred<LaunchDefaults>();
    const launch = model({
      ddpDefaults: () => defaults.promise,
      ddpPlan: () => Promise.resolve(plan('x'))
    });
    const loaded = launch.load();
    launch.edit({ script: 'b.py', processes: '3' });
    defaults.resolve(DEFAULTS);
    await loaded;
    expect(launch.state.form).toMatchObject({ script: 'b.py', processes: '3' });
    launch.dispose();
  });

  test('launches the plan that is shown, and asks for another one for the next run', async () => {
    const launched: LaunchRequest[] = [];
    let plans = 0;
    const launch = model({
      ddpPlan: () => Promise.resolve(plan(String(++plans))),
      ddpLaunch: request => {
        launched.push(request);
        return Promise.resolve(run({ id: request.id ?? '?', state: 'succeeded' }));
      }
    });
    await launch.load();
    launch.edit({ script: 'a.py' });
    await until(() => launch.state.plan?.id === 'id-1');
    expect((await launch.launch())?.id).toBe('id-1');
    expect(launch.state.plan).toBeNull();
    await until(() => launch.state.plan?.id === 'id-2');
    await launch.launch();
    expect(launched.map(request => request.id)).toEqual(['id-1', 'id-2']);
    expect(launch.state.runs.map(one => one.id)).toEqual(['id-2', 'id-1']);
    launch.dispose();
  });

  test('a lost reply makes no second run: the run of the plan is found', async () => {
    let launches = 0;
    const launch = model({
      ddpPlan: () => Promise.resolve(plan('x')),
      ddpLaunch: () => {
        launches += 1;
        return Promise.reject(new ApiError('network', ''));
      },
      ddpRun: id => Promise.resolve(run({ id }))
    });
    await launch.load();
    launch.edit({ script: 'a.py' });
    await until(() => launch.state.plan !== null);
    expect((await launch.launch())?.id).toBe('id-x');
    expect([launches, launch.state.launchError]).toEqual([1, null]);
    launch.dispose();
  });

  test('a refusal is shown and the form stays', async () => {
    const refusal = new ApiError('refused', '8 runs are going on already.', 409);
    const launch = model({
      ddpPlan: () => Promise.resolve(plan('x')),
      ddpLaunch: () => Promise.reject(refusal),
      ddpRun: () => Promise.reject(new ApiError('missing', '', 404))
    });
    await launch.load();
    launch.edit({ script: 'a.py' });
    await until(() => launch.state.plan !== null);
    expect(await launch.launch()).toBeNull();
    expect(launch.state).toMatchObject({
      launchError: refusal,
      launching: false,
      form: { script: 'a.py' }
    });
    launch.dispose();
  });

  test('two clicks are one launch', async () => {
    const answer = new Deferred<Run>();
    let launches = 0;
    const launch = model({
      ddpPlan: () => Promise.resolve(plan('x')),
      ddpLaunch: () => {
        launches += 1;
        return answer.promise;
      }
    });
    await launch.load();
    launch.edit({ script: 'a.py' });
    const both = [launch.launch(), launch.launch()];
    answer.resolve(run({ state: 'succeeded' }));
    expect((await Promise.all(both)).filter(one => one !== null)).toHaveLength(1);
    expect(launches).toBe(1);
    launch.dispose();
  });

  test('looks at the runs while one goes on, and no longer', async () => {
    let looks = 0;
    const launch = model({
      ddpRuns: () => Promise.resolve([run({ state: ++looks < 3 ? 'running' : 'succeeded' })])
    });
    await launch.load();
    await until(() => launch.state.runs[0]?.state === 'succeeded');
    await new Promise(resolve => setTimeout(resolve, 30));
    expect(looks).toBe(3);
    launch.dispose();
  });
});

describe('RunModel', () => {
  const END = { event: 'end', run: run({ state: 'succeeded' }) } as const;

  test('goes on from the last offset after a lost connection, so nothing comes twice', async () => {
    const offsets: number[] = [];
    const following = new RunModel({
      api: fakeApi({
        ddpRun: () => Promise.resolve(run()),
        // eslint-disable-next-line @typescript-eslint/require-await
        ddpLog: async function* (_, offset): AsyncGenerator<LogEvent> {
          offsets.push(offset);
          if (offset === 0) {
            yield { offset: 5, rank: 0, text: 'one\n' };
            throw new ApiError('network', '');
          }
          if (offset === 5) {
            yield { offset: 9, rank: 0, text: 'two\n' };
            return; // ended without an end
          }
          yield { offset: 14, rank: 1, text: 'three\n' };
          yield END;
        }
      }),
      id: '1',
      retryAfter: 1
    });
    await following.follow();
    expect(offsets).toEqual([0, 5, 9]);
    expect(following.log.lines.map(line => line.text)).toEqual(['one', 'two', 'three']);
    expect(following.state.run?.state).toBe('succeeded');
  });

  test('notices that a run has begun, and asks no longer', async () => {
    let asked = 0;
    const following = new RunModel({
      api: fakeApi({
        ddpRun: () => Promise.resolve(run({ state: ++asked < 4 ? 'starting' : 'running' })),
        ddpLog: async function* (_id, _offset, signal): AsyncGenerator<LogEvent> {
          await new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')))
          );
          yield END;
        }
      }),
      id: '1',
      lookEvery: 2
    });
    const over = following.follow();
    await until(() => following.state.run?.state === 'running');
    await new Promise(resolve => setTimeout(resolve, 20));
    expect(asked).toBe(4);
    following.dispose();
    await over;
  });

  test('does not ask for ever for a run that does not exist', async () => {
    const following = new RunModel({
      api: fakeApi({ ddpRun: () => Promise.reject(new ApiError('missing', 'No run 1.', 404)) }),
      id: '1',
      retryAfter: 1
    });
    await following.follow();
    expect(following.state.error).toMatchObject({ message: 'No run 1.' });
  });

  test('waits longer and longer for a server that does not answer, and stops when disposed', async () => {
    const times: number[] = [];
    const following = new RunModel({
      api: fakeApi({
        ddpRun: () => {
          times.push(performance.now());
          return Promise.reject(new ApiError('network', ''));
        }
      }),
      id: '1',
      retryAfter: 8
    });
    const over = following.follow();
    await until(() => times.length === 4);
    const [first, second, third, fourth] = times as [number, number, number, number];
    expect(fourth - third).toBeGreaterThan(second - first);
    following.dispose();
    await over;
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(times.length).toBe(4);
  });

  test('a stop is asked for once, and can be asked for again when it failed', async () => {
    let stops = 0;
    const following = new RunModel({
      api: fakeApi({
        ddpStop: () => {
          stops += 1;
          return stops === 1
            ? Promise.reject(new ApiError('network', ''))
            : Promise.resolve(run({ state: 'stopped' }));
        }
      }),
      id: '1',
      run: run()
    });
    await Promise.all([following.stop(), following.stop()]);
    expect([stops, following.state.stopping]).toEqual([1, false]);
    expect(following.state.stopError).toMatchObject({ kind: 'network' });
    await following.stop();
    expect(following.state).toMatchObject({ run: { state: 'stopped' }, stopping: false });
    await following.stop();
    expect(stops).toBe(2);
  });
});
