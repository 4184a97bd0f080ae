/**
 * What a person enters to launch a run, and the request it stands for. Pure.
 *
 * Guarantees: arguments are split as a POSIX shell would split plain words and quotes, and nothing is expanded;
 * what cannot be a request is refused with the field that has to change; the same input gives the same request.
 */
import type { LaunchDefaults, LaunchRequest, Run, TrackerName } from '../wire';

/** All texts are as typed: a number only when it is one. */
export interface LaunchForm {
  /** Whether `script` is the name of a module, as for `python -m`. */
  module: boolean;
  script: string;
  processes: string;
  arguments: string;
  /** Relative to the Jupyter root; empty for the script's own folder. */
  folder: string;
  /** NAME=VALUE, split as arguments are. */
  variables: string;
  /** OMP_NUM_THREADS; empty for the server's choice. */
  threads: string;
  /** NCCL_DEBUG; empty for the server's choice. */
  ncclDebug: string;
  restarts: string;
  /** The ranks whose output gets into the log, with commas; empty for all. */
  ranks: string;
  /** Names with commas, or "none"; empty for those that are set up. */
  trackers: string;
}

export type FormField = Exclude<keyof LaunchForm, 'module'>;

/** Why a form is not a request yet. `no-script` is no mistake, only a beginning. */
export type FormProblem =
  | { field: 'script'; reason: 'no-script' | 'not-python' | 'notebook' | 'not-a-module' }
  | { field: 'processes' | 'restarts'; reason: 'not-a-number' | 'out-of-range' }
  | { field: 'threads'; reason: 'not-a-number' }
  | { field: 'arguments'; reason: 'open-quote' }
  | { field: 'variables'; reason: 'open-quote' | 'not-a-variable' }
  | { field: 'ranks'; reason: 'not-ranks' };

export const MAXIMUM_RESTARTS = 10;

const TRACKERS: readonly TrackerName[] = ['tensorboard', 'wandb'];

const MODULE = /^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)*$/u;

export const EMPTY_FORM: LaunchForm = {
  module: false,
  script: '',
  processes: '',
  arguments: '',
  folder: '',
  variables: '',
  threads: '',
  ncclDebug: '',
  restarts: '',
  ranks: '',
  trackers: ''
};

/** The variables that have fields of their own. */
const OWN_FIELDS = { OMP_NUM_THREADS: 'threads', NCCL_DEBUG: 'ncclDebug' } as const;

/** A path as the server wants it: without the drive of the contents manager, and without a leading slash. */
export function serverPath(path: string): string {
  const colon = path.indexOf(':');
  const slash = path.indexOf('/');
  const local = colon !== -1 && (slash === -1 || colon < slash) ? path.slice(colon + 1) : path;
  return local.replace(/^\/+/, '');
}

/**
 * Words of a command line: quotes keep spaces, a backslash keeps the next character (in double quotes only before
 * `"`, `\`, `$` and a backtick), a newline separates like a space. Null where a quote is not closed.
 */
export function splitArguments(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    const next = text.charAt(at + 1);
    if (quote === "'") {
      if (char === "'") {
        quote = '';
      } else {
        word = (word ?? '') + char;
      }
    } else if (char === '\\' && next !== '' && (quote === '' || '"\\$`'.includes(next))) {
      word = (word ?? '') + next;
      at += 1;
    } else if (quote === '"') {
      if (char === '"') {
        quote = '';
      } else {
        word = (word ?? '') + char;
      }
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== null) {
        words.push(word);
        word = null;
      }
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') {
    return null;
  }
  return word === null ? words : [...words, word];
}

/** Words as a text that `splitArguments` splits into the same words. */
export function joinArguments(words: readonly string[]): string {
  return words
    .map(word => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`))
    .join(' ');
}

/** The request that the form stands for, or the first thing that keeps it from being one. */
export function toRequest(
  form: LaunchForm,
  defaults: LaunchDefaults | null
): { request: LaunchRequest } | { problem: FormProblem } {
  const target = targetOf(form);
  if ('problem' in target) {
    return target;
  }
  if (!isNumber(form.processes)) {
    return { problem: { field: 'processes', reason: 'not-a-number' } };
  }
  const processes = Number(form.processes);
  if (processes < 1 || (defaults && processes > defaults.max_processes)) {
    return { problem: { field: 'processes', reason: 'out-of-range' } };
  }
  const words = splitArguments(form.arguments);
  if (words === null) {
    return { problem: { field: 'arguments', reason: 'open-quote' } };
  }
  const request: LaunchRequest = { ...target, arguments: words, processes };
  const folder = serverPath(form.folder.trim());
  if (form.folder.trim() !== '') {
    request.working_directory = folder;
  }
  const problem = addChoices(request, form);
  return problem === null ? { request } : { problem };
}

/** Puts the less common choices into the request; those that were not made leave no trace in it. */
function addChoices(request: LaunchRequest, form: LaunchForm): FormProblem | null {
  const words = splitArguments(form.variables);
  if (words === null) {
    return { field: 'variables', reason: 'open-quote' };
  }
  const environment: Record<string, string> = {};
  for (const word of words) {
    const [, name, value] = /^([A-Za-z_]\w*)=([^]*)$/.exec(word) ?? [];
    if (name === undefined || value === undefined) {
      return { field: 'variables', reason: 'not-a-variable' };
    }
    environment[name] = value;
  }
  if (form.threads.trim() !== '' && !/^\s*[1-9]\d{0,3}\s*$/.test(form.threads)) {
    return { field: 'threads', reason: 'not-a-number' };
  }
  for (const [name, field] of Object.entries(OWN_FIELDS)) {
    if (form[field].trim() !== '') {
      environment[name] = form[field].trim();
    }
  }
  if (Object.keys(environment).length > 0) {
    request.environment = environment;
  }
  if (form.restarts.trim() !== '') {
    if (!isNumber(form.restarts)) {
      return { field: 'restarts', reason: 'not-a-number' };
    }
    request.max_restarts = Number(form.restarts);
    if (request.max_restarts > MAXIMUM_RESTARTS) {
      return { field: 'restarts', reason: 'out-of-range' };
    }
  }
  if (form.ranks.trim() !== '') {
    const ranks = form.ranks.split(',');
    if (!ranks.every(rank => isNumber(rank) && Number(rank) < request.processes)) {
      return { field: 'ranks', reason: 'not-ranks' };
    }
    request.local_ranks_filter = ranks.map(Number);
  }
  if (form.trackers !== '') {
    request.trackers = TRACKERS.filter(name => form.trackers.split(',').includes(name));
  }
  return null;
}

function isNumber(text: string): boolean {
  return /^\s*\d+\s*$/.test(text);
}

function targetOf(
  form: LaunchForm
): { script: string } | { module: string } | { problem: FormProblem } {
  const name = form.script.trim();
  if (name === '') {
    return { problem: { field: 'script', reason: 'no-script' } };
  }
  if (form.module) {
    return MODULE.test(name) && !name.endsWith('.py') // a file was meant
      ? { module: name }
      : { problem: { field: 'script', reason: 'not-a-module' } };
  }
  const script = serverPath(name);
  if (script.endsWith('.ipynb')) {
    return { problem: { field: 'script', reason: 'notebook' } };
  }
  return /\.py$/i.test(script)
    ? { script }
    : { problem: { field: 'script', reason: 'not-python' } };
}

/** The form that launches an earlier run again. */
export function formOf(run: Run): LaunchForm {
  const { OMP_NUM_THREADS = '', NCCL_DEBUG = '', ...variables } = run.environment ?? {};
  const hidden = new Set(run.hidden_ranks ?? []);
  const shown = [...Array(run.processes).keys()].filter(rank => !hidden.has(rank));
  return {
    module: run.is_module === true,
    script: run.script,
    processes: String(run.processes),
    arguments: joinArguments(run.arguments ?? []),
    folder: folderOf(run),
    variables: joinArguments(Object.entries(variables).map(([name, text]) => `${name}=${text}`)),
    threads: OMP_NUM_THREADS,
    ncclDebug: NCCL_DEBUG,
    restarts: run.max_restarts ? String(run.max_restarts) : '',
    ranks: hidden.size > 0 ? shown.join(',') : '',
    trackers: run.trackers ? run.trackers.join(',') || 'none' : ''
  };
}

/**
 * A run's working folder as the form has it. The server tells the absolute one; the root above the user's files
 * is what precedes the script in the command.
 */
function folderOf(run: Run): string {
  const folder = run.working_directory ?? '';
  if (!folder.startsWith('/')) {
    return folder;
  }
  const words = splitArguments(run.command) ?? [];
  if (run.is_module) {
    // a module is nowhere in particular; the run's own folder is below the root
    const root = words[words.indexOf('--log-dir') + 1]?.split('/.gpucamp/runs/')[0] ?? '';
    return folder.startsWith(`${root}/`) ? folder.slice(root.length + 1) : '';
  }
  const script = `/${run.script}`;
  const full = words.find(word => word.endsWith(script));
  if (full === undefined || folder === full.slice(0, full.lastIndexOf('/'))) {
    return '';
  }
  const root = full.slice(0, -script.length);
  if (folder === root) {
    return '.';
  }
  return folder.startsWith(`${root}/`) ? folder.slice(root.length + 1) : '';
}
