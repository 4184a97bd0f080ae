/**
 * Runs in words. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Diagnosis, Run, RunState } from '../wire';

export function isAlive(state: RunState): boolean {
  return state === 'starting' || state === 'running';
}

export function stateText(state: RunState, trans: TranslationBundle): string {
  switch (state) {
    case 'starting':
      return trans.__('Starting');
    case 'running':
      return trans.__('Running');
    case 'succeeded':
      return trans.__('Succeeded');
    case 'failed':
      return trans.__('Failed');
    case 'stopped':
      return trans.__('Stopped');
    case 'lost':
      return trans.__('Lost');
  }
}

export function stateMark(state: RunState): string {
  return { starting: '…', running: '▶', succeeded: '✓', failed: '✗', stopped: '■', lost: '?' }[
    state
  ];
}

/** Milliseconds since the epoch of a time of the server (seconds, or ISO 8601); null where there is none. */
export function toMillis(time: number | string | null | undefined): number | null {
  if (time === null || time === undefined) {
    return null;
  }
  const millis = typeof time === 'number' ? time * 1000 : Date.parse(time);
  return Number.isFinite(millis) ? millis : null;
}

/** A duration for people: 5 -> "5 s", 65 -> "1:05", 3700 -> "1:01:40". */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** How long a run has gone on, or went on; null before it began. */
export function elapsedSeconds(run: Run, now: number): number | null {
  const start = toMillis(run.started_at);
  if (start === null) {
    return null;
  }
  const end = toMillis(run.ended_at) ?? (isAlive(run.state) ? now : null);
  return end === null ? null : Math.max(0, (end - start) / 1000);
}

/** Whether the doctor is named as the way to mend it, in English or in the reader's language. */
export function namesDoctor(diagnosis: Diagnosis, trans: TranslationBundle): boolean {
  return ['GPU doctor', trans.__('GPU doctor')].some(name => diagnosis.fix.includes(name));
}

/** The seed of a run, or that there is none that is known. */
export function seedText(run: Run, trans: TranslationBundle): string {
  return run.seed?.value ?? trans.__('not stated');
}

/** Where the seed was found. */
export function seedTitle(run: Run, trans: TranslationBundle): string {
  switch (run.seed?.source) {
    case 'arguments':
      return trans.__('From the arguments');
    case 'environment':
      return trans.__('From a variable');
    case 'printed':
      return trans.__('The script printed it');
    default:
      return trans.__('No seed in the arguments, the variables or the output');
  }
}
