/**
 * Recent launches, from the records of runs that the server keeps. Pure.
 *
 * Guarantees: launches that would fill in the same form are one, the newest; a launch that equals the form as it is
 * is not offered; of a script only its own are.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Run } from '../wire';
import { formOf, type LaunchForm, serverPath } from './form';

const AT_MOST = 5;

/**
 * @param runs - newest first
 * @returns the newest distinct launches of the form's script or module, newest first; of each script the newest where
 * the form has none yet
 */
export function recentLaunches(runs: readonly Run[], form: LaunchForm): Run[] {
  const target = targetOf(form);
  const seen = new Set([JSON.stringify(form)]);
  const found: Run[] = [];
  for (const run of runs) {
    const its = formOf(run);
    if (target === '' ? isElsewhere(its.script) : target !== targetOf(its)) {
      continue;
    }
    const key = target === '' ? targetOf(its) : JSON.stringify(its);
    if (!seen.has(key)) {
      seen.add(key);
      found.push(run);
    }
    if (found.length === AT_MOST) {
      break;
    }
  }
  return found;
}

/** What a launch would fill in, in words: "2 processes · --lr 0.1 · SEED=1". */
export function launchText(run: Run, trans: TranslationBundle): string {
  const form = formOf(run);
  return [
    trans._n('%1 process', '%1 processes', run.processes),
    form.arguments,
    form.folder && trans.__('in %1', form.folder),
    form.variables,
    form.threads && `OMP_NUM_THREADS=${form.threads}`,
    form.ncclDebug && `NCCL_DEBUG=${form.ncclDebug}`,
    form.restarts && trans.__('restarts: %1', form.restarts),
    form.ranks && trans.__('ranks in the log: %1', form.ranks),
    form.trackers && trans.__('log to: %1', form.trackers)
  ]
    .filter(part => part !== '')
    .join(' · ');
}

function targetOf(form: LaunchForm): string {
  const script = form.script.trim();
  if (script === '') {
    return '';
  }
  return form.module ? `-m ${script}` : serverPath(script);
}

/** Of a run from a terminal, which may be anywhere. */
function isElsewhere(script: string): boolean {
  return script.startsWith('/') || script.split('/').includes('..');
}
