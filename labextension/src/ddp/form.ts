/**
 * What a person enters to launch a run, and the request it stands for. Pure.
 *
 * Guarantees: arguments are split as a POSIX shell would split plain words and quotes, and nothing is expanded;
 * what cannot be a request is refused with the field that has to change; the same input gives the same request.
 */
import type { LaunchDefaults, LaunchRequest, Run } from '../wire';

export interface LaunchForm {
  script: string;
  /** As typed; a number only when it is one. */
  processes: string;
  arguments: string;
  /** Relative to the Jupyter root; empty for the script's own folder. */
  folder: string;
}

export type FormField = keyof LaunchForm;

/** Why a form is not a request yet. `no-script` is no mistake, only a beginning. */
export type FormProblem =
  | { field: 'script'; reason: 'no-script' | 'not-python' }
  | { field: 'processes'; reason: 'not-a-number' | 'out-of-range' }
  | { field: 'arguments'; reason: 'open-quote' };

export const EMPTY_FORM: LaunchForm = { script: '', processes: '', arguments: '', folder: '' };

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
  const script = serverPath(form.script.trim());
  if (script === '') {
    return { problem: { field: 'script', reason: 'no-script' } };
  }
  if (!/\.py$/i.test(script)) {
    return { problem: { field: 'script', reason: 'not-python' } };
  }
  if (!/^\d+$/.test(form.processes.trim())) {
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
  const request: LaunchRequest = { script, arguments: words, processes };
  const folder = serverPath(form.folder.trim());
  if (form.folder.trim() !== '') {
    request.working_directory = folder;
  }
  return { request };
}

/** The form that launches an earlier run again. */
export function formOf(run: Run): LaunchForm {
  return {
    script: run.script,
    processes: String(run.processes),
    arguments: joinArguments(run.arguments ?? []),
    folder: folderOf(run)
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
  const script = `/${run.script}`;
  const full = splitArguments(run.command)?.find(word => word.endsWith(script));
  if (full === undefined || folder === full.slice(0, full.lastIndexOf('/'))) {
    return '';
  }
  const root = full.slice(0, -script.length);
  if (folder === root) {
    return '.';
  }
  return folder.startsWith(`${root}/`) ? folder.slice(root.length + 1) : '';
}
