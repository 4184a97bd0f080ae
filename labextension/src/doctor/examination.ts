/**
 * An examination as a state and the events that change it. Pure.
 *
 * Guarantees: findings are ordered worst first, and within a severity as they came; the same code counts once (the
 * last one wins); the final report replaces what was gathered before it; an event that does not fit leaves the
 * state as it was; until an examination has ended, the report before it stays in view.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { ApiError } from '../errors';
import { durationText, timeOf } from '../lease/texts';
import type { ExaminationEvent, Finding, Report, Severity, Verdict } from '../wire';

const MINUTE = 60_000;

export type Phase = 'idle' | 'running' | 'finished' | 'cancelled' | 'failed';

export interface Examination {
  phase: Phase;
  kernel: string;
  /** Of the running kernel that is meant; empty: what the spec would start. */
  kernelId: string;
  /** How many checks there are; 0 until the server said it. */
  checks: number;
  /** How many are answered. */
  done: number;
  findings: Finding[];
  report: Report | null;
  /** The report of this kernel before this examination, until this one has ended; null where there is none. */
  before: Report | null;
  error: unknown;
}

/** A finding as it is shown. */
export interface Row {
  finding: Finding;
  /** Whether it is of the report before, and not found again (yet). */
  old: boolean;
}

export const NO_EXAMINATION: Examination = {
  phase: 'idle',
  kernel: '',
  kernelId: '',
  checks: 0,
  done: 0,
  findings: [],
  report: null,
  before: null,
  error: null
};

const ORDER: Record<Severity, number> = { blocker: 0, degraded: 1, advice: 2 };

function weight(finding: Finding): number {
  // A severity of a newer server sorts after the ones known here.
  return (ORDER as Partial<Record<string, number>>)[finding.severity] ?? 3;
}

/** Worst first; equals keep their order. */
export function worstFirst(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => weight(a) - weight(b));
}

/** @param before - the last report; it counts only if it is of this kernel */
export function begin(kernel: string, before: Report | null = null, kernelId = ''): Examination {
  return {
    ...NO_EXAMINATION,
    phase: 'running',
    kernel,
    kernelId,
    before: before && isOf(before, kernel, kernelId) ? before : null
  };
}

/** Whether a report is of this kernel: the same spec, or the same one that runs. */
export function isOf(report: Report, kernel: string, kernelId: string): boolean {
  return report.kernel === kernel && (report.kernel_id ?? '') === kernelId;
}

/** What is shown, worst first: what was found, and what the report before it found and nobody has contradicted. */
export function rows(state: Examination): Row[] {
  const known = new Set(state.findings.map(finding => finding.code));
  const old = state.before?.findings.filter(finding => !known.has(finding.code)) ?? [];
  return [
    ...state.findings.map(finding => ({ finding, old: false })),
    ...old.map(finding => ({ finding, old: true }))
  ].sort((a, b) => weight(a.finding) - weight(b.finding));
}

export function apply(state: Examination, event: ExaminationEvent): Examination {
  switch (event.event) {
    case 'started':
      return { ...state, kernel: event.kernel, checks: event.checks };
    case 'probe':
      return { ...state, done: Math.min(Math.max(state.done, event.decided), state.checks) };
    case 'finding': {
      const others = state.findings.filter(known => known.code !== event.finding.code);
      return { ...state, findings: worstFirst([...others, event.finding]) };
    }
    case 'finished':
      return ofReport(event.report);
    default:
      return state;
  }
}

/** The state that a whole report stands for. */
export function ofReport(report: Report): Examination {
  const checks = report.checks_passed.length + report.checks_skipped.length;
  return {
    phase: 'finished',
    kernel: report.kernel,
    kernelId: report.kernel_id ?? '',
    checks,
    done: checks,
    findings: worstFirst(report.findings),
    report,
    before: null,
    error: null
  };
}

/** The verdict that findings add up to. */
export function verdictOf(findings: readonly Finding[]): Verdict {
  switch (worstFirst(findings)[0]?.severity) {
    case undefined:
      return 'healthy';
    case 'blocker':
      return 'blocked';
    case 'degraded':
      return 'degraded';
    default:
      return 'advice';
  }
}

/** The header's sentence. Advice is not a problem. */
export function verdictText(state: Examination, trans: TranslationBundle): string {
  const problems = state.findings.filter(finding => finding.severity !== 'advice').length;
  const advice = state.findings.length - problems;
  switch (state.phase) {
    case 'idle':
      return trans.__('Not examined yet');
    case 'running':
      return problems
        ? trans._n('%1 problem found so far', '%1 problems found so far', problems)
        : trans.__('Examining…');
    case 'cancelled':
      return trans.__('The examination was stopped');
    case 'failed':
      return state.checks === 0 && state.error instanceof ApiError && state.error.kind === 'refused'
        ? trans.__('Not examined')
        : trans.__('The examination did not finish');
    case 'finished':
      if (problems) {
        return trans._n('%1 problem found', '%1 problems found', problems);
      }
      return advice
        ? trans._n(
            'Everything works. %1 piece of advice',
            'Everything works. %1 pieces of advice',
            advice
          )
        : trans.__('Everything is fine');
  }
}

export function severityText(severity: Severity, trans: TranslationBundle): string {
  switch (severity) {
    case 'blocker':
      return trans.__('Problem');
    case 'degraded':
      return trans.__('Limitation');
    default:
      return trans.__('Advice');
  }
}

export function severityMark(severity: Severity): string {
  return severity === 'blocker' ? '✗' : severity === 'degraded' ? '!' : 'i';
}

export function whoText(finding: Finding, trans: TranslationBundle): string {
  return finding.who === 'you' ? trans.__('You can do this') : trans.__('Ask your instructor');
}

/**
 * How long ago a report was made: "just now", "5 min ago"; empty where it does not say when.
 *
 * @param now - milliseconds since the epoch
 */
export function ageText(report: Report, now: number, trans: TranslationBundle): string {
  const { started_at } = report;
  const at = typeof started_at === 'number' ? started_at * 1000 : timeOf(started_at);
  if (at === null) {
    return '';
  }
  const minutes = Math.floor((now - at) / MINUTE);
  // The server's clock may be ahead.
  return minutes < 1
    ? trans.__('just now')
    : trans.__('%1 ago', durationText(minutes * MINUTE, trans));
}

/**
 * What a person who does not see the panel is told when it changes; null: nothing. Only what is new: who wants the
 * whole list reads it. A failure is told by its own box.
 */
export function news(
  before: Examination,
  after: Examination,
  trans: TranslationBundle
): string | null {
  if (after.phase === 'running' && before.phase === 'running') {
    const known = new Set(before.findings.map(finding => finding.code));
    const found = after.findings.filter(finding => !known.has(finding.code));
    return found.length ? found.map(one => headline(one, trans)).join('\n') : null;
  }
  if (after.phase === before.phase || after.phase === 'idle' || after.phase === 'failed') {
    return null;
  }
  if (after.phase === 'running') {
    return trans.__('Examining the kernel %1', after.kernel);
  }
  const found = new Set(after.findings.map(finding => finding.code));
  const gone = before.before?.findings.filter(finding => !found.has(finding.code)).length ?? 0;
  return after.phase === 'finished' && gone
    ? `${verdictText(after, trans)}\n` +
        trans._n(
          '%1 finding of the last report is gone',
          '%1 findings of the last report are gone',
          gone
        )
    : verdictText(after, trans);
}

function headline(finding: Finding, trans: TranslationBundle): string {
  return `${severityText(finding.severity, trans)}: ${finding.title}`;
}

/** The checks that were not needed, each with the code or the mistake that is the reason. */
export function skippedChecks(report: Report | null): string[] {
  const others = new Set(report?.checks_unexamined);
  return withReasons(
    report,
    (report?.checks_skipped ?? []).filter(name => !others.has(name))
  );
}

/** The checks that did not learn what they needed to know, each with the reason. */
export function unexaminedChecks(report: Report | null): string[] {
  return withReasons(report, report?.checks_unexamined ?? []);
}

function withReasons(report: Report | null, names: string[]): string[] {
  const reasons = report?.skipped_because ?? {};
  return names.map(name => {
    const reason = reasons[name];
    return reason ? `${name} (${reason})` : name;
  });
}

/** Evidence of any shape as lines to read. */
export function evidenceLines(evidence: unknown): string[] {
  if (evidence === null || evidence === undefined || evidence === '') {
    return [];
  }
  if (Array.isArray(evidence)) {
    return evidence.flatMap(evidenceLines);
  }
  if (typeof evidence === 'object') {
    return Object.entries(evidence).map(([name, value]) => `${name}: ${plain(value)}`);
  }
  return plain(evidence).split('\n');
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A docs link that is safe to follow: http(s), or a path of this host; null otherwise. */
export function safeLink(url: string | null | undefined): string | null {
  return url && (/^https?:\/\//i.test(url) || /^\/(?![/\\])/.test(url)) ? url : null;
}

/** The examination as text for a chat. */
export function asText(state: Examination, trans: TranslationBundle): string {
  const lines = [
    `${trans.__('GPU doctor')}: ${verdictText(state, trans)}`,
    trans.__('Kernel: %1', state.kernel)
  ];
  for (const { finding, old } of rows(state)) {
    lines.push(
      '',
      `${severityMark(finding.severity)} ${finding.code} ${headline(finding, trans)}` +
        (old ? ` (${trans.__('from the last report')})` : ''),
      `  ${trans.__('Fix:')} ${finding.fix} (${whoText(finding, trans)})`
    );
    if (finding.command) {
      lines.push(`  $ ${finding.command}`);
    }
    lines.push(...evidenceLines(finding.evidence).map(line => `  | ${line}`));
  }
  return lines.join('\n') + '\n';
}

/** The examination as JSON; the server's own report when there is one. */
export function asJson(state: Examination): string {
  const { kernel, phase, findings, before } = state;
  const unfinished = { kernel, phase, findings, ...(before && { last_report: before }) };
  return JSON.stringify(state.report ?? unfinished, null, 2);
}
