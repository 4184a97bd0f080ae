/**
 * An examination as a state and the events that change it. Pure.
 *
 * Guarantees: findings are ordered worst first, and within a severity as they came; the same code counts once (the
 * last one wins); the final report replaces what was gathered before it; an event that does not fit leaves the
 * state as it was.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ExaminationEvent, Finding, Report, Severity, Verdict } from '../wire';

export type Phase = 'idle' | 'running' | 'finished' | 'cancelled' | 'failed';

export interface Examination {
  phase: Phase;
  kernel: string;
  /** How many checks there are; 0 until the server said it. */
  checks: number;
  /** How many are answered. */
  done: number;
  findings: Finding[];
  report: Report | null;
  error: unknown;
}

export const NO_EXAMINATION: Examination = {
  phase: 'idle',
  kernel: '',
  checks: 0,
  done: 0,
  findings: [],
  report: null,
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

export function begin(kernel: string): Examination {
  return { ...NO_EXAMINATION, phase: 'running', kernel };
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
    checks,
    done: checks,
    findings: worstFirst(report.findings),
    report,
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
      return trans.__('The examination did not finish');
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
  for (const finding of state.findings) {
    lines.push(
      '',
      `${severityMark(finding.severity)} ${finding.code} ` +
        `${severityText(finding.severity, trans)}: ${finding.title}`,
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
  const { kernel, findings } = state;
  return JSON.stringify(state.report ?? { kernel, phase: state.phase, findings }, null, 2);
}
