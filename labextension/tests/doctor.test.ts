import { describe, expect, test } from 'vitest';

import {
  apply,
  asJson,
  asText,
  begin,
  evidenceLines,
  ofReport,
  safeLink,
  verdictOf,
  verdictText,
  worstFirst
} from '../src/doctor/examination';
import { DoctorModel } from '../src/doctor/model';
import { ApiError } from '../src/errors';
import type { ExaminationEvent, Finding, Report, Severity } from '../src/wire';
import { english, fakeApi, until } from './helpers';

const finding = (code: string, severity: Severity, more: Partial<Finding> = {}): Finding => ({
  code,
  severity,
  title: `Title ${code}`,
  evidence: [],
  fix: `Fix ${code}`,
  who: 'you',
  ...more
});

const report = (findings: Finding[]): Report => ({
  started_at: 0,
  seconds: 1.25,
  kernel: 'python3',
  verdict: verdictOf(findings),
  findings,
  facts: {},
  checks_passed: ['a', 'b'],
  checks_skipped: ['c']
});

describe('findings', () => {
  test('are ordered worst first; equals keep their order', () => {
    const mixed = [
      finding('GC1', 'advice'),
      finding('GC2', 'blocker'),
      finding('GC3', 'degraded'),
      finding('GC4', 'blocker'),
      finding('GC5', 'unheard-of' as Severity)
    ];
    expect(worstFirst(mixed).map(one => one.code)).toEqual(['GC2', 'GC4', 'GC3', 'GC1', 'GC5']);
    expect(mixed.map(one => one.code)).toEqual(['GC1', 'GC2', 'GC3', 'GC4', 'GC5']);
  });

  test('make the verdict', () => {
    expect(verdictOf([])).toBe('healthy');
    expect(verdictOf([finding('GC1', 'advice')])).toBe('advice');
    expect(verdictOf([finding('GC1', 'advice'), finding('GC2', 'degraded')])).toBe('degraded');
    expect(verdictOf([finding('GC1', 'degraded'), finding('GC2', 'blocker')])).toBe('blocked');
  });
});

describe('an examination', () => {
  test('grows by its events', () => {
    let state = begin('python3');
    state = apply(state, { event: 'started', kernel: 'python3', checks: 9 });
    state = apply(state, { event: 'finding', finding: finding('GC1', 'advice') });
    state = apply(state, { event: 'probe', name: 'x', seconds: 1, decided: 3 });
    state = apply(state, { event: 'finding', finding: finding('GC2', 'blocker') });
    expect(state.findings.map(one => one.code)).toEqual(['GC2', 'GC1']);
    expect(verdictText(state, english)).toBe('1 problem found so far');
    expect([state.done, state.checks]).toEqual([3, 9]);
    state = apply(state, { event: 'probe', name: 'late', seconds: 1, decided: 2 });
    expect(state.done).toBe(3);
    state = apply(state, { event: 'probe', name: 'wild', seconds: 1, decided: 99 });
    expect(state.done).toBe(9);
  });

  test('takes a code once and passes over events that it does not know', () => {
    let state = begin('python3');
    state = apply(state, { event: 'finding', finding: finding('GC1', 'advice') });
    state = apply(state, { event: 'finding', finding: finding('GC1', 'blocker') });
    expect(state.findings.map(one => one.severity)).toEqual(['blocker']);
    const unknown = { event: 'news' } as unknown as ExaminationEvent;
    expect(apply(state, unknown)).toEqual(state);
  });

  test('ends with the report, whatever came before', () => {
    let state = apply(begin('python3'), {
      event: 'finding',
      finding: finding('GC1', 'blocker')
    });
    state = apply(state, { event: 'finished', report: report([]) });
    expect(state).toMatchObject({ phase: 'finished', findings: [], done: 3, checks: 3 });
    expect(verdictText(state, english)).toBe('Everything is fine');
  });

  test('says advice, but does not call it a problem', () => {
    const advice = ofReport(report([finding('GC1', 'advice')]));
    expect(verdictText(advice, english)).toBe('Everything works. 1 piece of advice');
    const both = ofReport(report([finding('GC1', 'advice'), finding('GC2', 'degraded')]));
    expect(verdictText(both, english)).toBe('1 problem found');
  });

  test('is copied with all that another person needs', () => {
    const state = ofReport(
      report([
        finding('GC301', 'blocker', {
          command: 'pip uninstall torch',
          evidence: ['torch 2.9.1+cpu'],
          who: 'instructor'
        })
      ])
    );
    expect(asText(state, english)).toBe(
      [
        'GPU doctor: 1 problem found',
        'Kernel: python3',
        '',
        '✗ GC301 Problem: Title GC301',
        '  Fix: Fix GC301 (Ask your instructor)',
        '  $ pip uninstall torch',
        '  | torch 2.9.1+cpu',
        ''
      ].join('\n')
    );
    expect(JSON.parse(asJson(state))).toEqual(state.report);
  });
});

test('evidence of any shape becomes lines', () => {
  expect(evidenceLines(null)).toEqual([]);
  expect(evidenceLines('a\nb')).toEqual(['a', 'b']);
  expect(evidenceLines(['a', ['b'], ''])).toEqual(['a', 'b']);
  expect(evidenceLines({ free: 3, path: '/dev/shm', list: [1] })).toEqual([
    'free: 3',
    'path: /dev/shm',
    'list: [1]'
  ]);
});

test('only harmless links are followed', () => {
  expect(safeLink('https://example.org/GC101')).toBe('https://example.org/GC101');
  expect(safeLink('/services/gpucamp/docs/GC101')).toBe('/services/gpucamp/docs/GC101');
  for (const url of [
    'javascript:alert(1)',
    '//evil.example',
    '/\\evil.example',
    'data:x',
    '',
    null
  ]) {
    expect(safeLink(url)).toBeNull();
  }
});

describe('DoctorModel', () => {
  /** A stream that gives these events, then waits until it is ended. */
  async function* hanging(
    events: ExaminationEvent[],
    signal: AbortSignal
  ): AsyncGenerator<ExaminationEvent> {
    yield* events;
    await new Promise((_, reject) =>
      signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')))
    );
  }

  test('a new examination ends the one before, whose late events count no more', async () => {
    const signals: AbortSignal[] = [];
    const model = new DoctorModel(
      fakeApi({
        examine: (kernel, signal) => {
          signals.push(signal);
          return kernel === 'slow'
            ? hanging([{ event: 'finding', finding: finding('GC1', 'blocker') }], signal)
            : hanging([{ event: 'finished', report: report([]) }], signal);
        }
      }),
      'slow'
    );
    const first = model.examine();
    await until(() => model.state.findings.length === 1);
    void model.examine('python3');
    await first;
    await until(() => model.state.phase === 'finished');
    expect(signals[0]?.aborted).toBe(true);
    expect(model.state).toMatchObject({ kernel: 'python3', findings: [] });
    model.dispose();
    expect(signals[1]?.aborted).toBe(true);
  });

  test('a stop keeps what was found', async () => {
    const model = new DoctorModel(
      fakeApi({
        examine: (_, signal) =>
          hanging([{ event: 'finding', finding: finding('GC1', 'blocker') }], signal)
      }),
      'python3'
    );
    const over = model.examine();
    await until(() => model.state.findings.length === 1);
    model.cancel();
    await over;
    expect(model.state.phase).toBe('cancelled');
    expect(model.state.findings).toHaveLength(1);
  });

  test('a stream that breaks off is a failure, not a result', async () => {
    const model = new DoctorModel(
      fakeApi({
        // eslint-disable-next-line @typescript-eslint/require-await
        examine: async function* () {
          yield { event: 'started', kernel: 'python3', checks: 9 } as const;
        }
      }),
      'python3'
    );
    await model.examine();
    expect(model.state.phase).toBe('failed');
    expect(model.state.error).toMatchObject({ kind: 'network' });
  });

  test('an error in the stream is told in the words of the server', async () => {
    const model = new DoctorModel(
      fakeApi({
        // eslint-disable-next-line @typescript-eslint/require-await
        examine: async function* () {
          yield { event: 'error', status: 404, message: 'No kernel of that name.' } as const;
        }
      }),
      'none'
    );
    await model.examine();
    expect(model.state.error).toMatchObject({ message: 'No kernel of that name.' });
  });

  test('resumes with the last report, and examines where there is none', async () => {
    const known = new DoctorModel(
      fakeApi({ lastReport: () => Promise.resolve(report([finding('GC1', 'advice')])) }),
      'python3'
    );
    await known.resume();
    expect(known.state.phase).toBe('finished');

    const asked: string[] = [];
    const unknown = new DoctorModel(
      fakeApi({
        lastReport: () => Promise.reject(new ApiError('missing', '', 404)),
        // eslint-disable-next-line @typescript-eslint/require-await
        examine: async function* (kernel) {
          asked.push(kernel);
          yield { event: 'finished', report: report([]) } as const;
        }
      }),
      'python3'
    );
    await unknown.resume();
    expect(asked).toEqual(['python3']);
    expect(unknown.state.phase).toBe('finished');
  });
});
