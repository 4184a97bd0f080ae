/**
 * The end of a run in words, for who asked to be told. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Run } from '../wire';
import { durationText, elapsedSeconds } from './runText';

export interface EndText {
  title: string;
  /** How long it took, and why it failed; may be empty. */
  body: string;
  type: 'success' | 'error' | 'info';
}

export function endText(run: Run, trans: TranslationBundle): EndText {
  const script = run.script.split('/').pop() ?? run.script;
  const seconds = elapsedSeconds(run, 0);
  const time = seconds === null ? '' : trans.__('After %1.', durationText(seconds));
  const body = [time, run.diagnosis?.cause ?? ''].filter(part => part !== '').join(' ');
  switch (run.state) {
    case 'succeeded':
      return { title: trans.__('The run of %1 succeeded.', script), body, type: 'success' };
    case 'failed':
      return { title: trans.__('The run of %1 failed.', script), body, type: 'error' };
    case 'stopped':
      return { title: trans.__('The run of %1 was stopped.', script), body, type: 'info' };
    default:
      return {
        title: trans.__('The run of %1 has ended, and nobody saw how.', script),
        body,
        type: 'error'
      };
  }
}
