import type { TranslationBundle } from '@jupyterlab/translation';

/**
 * Why a request to the server did not give what was asked for.
 *
 * - `network`: no answer (connection lost, server gone)
 * - `stopped`: the hub answers for a server that is not running
 * - `signed-out`: the session is over
 * - `refused`: the server said no and why (4xx)
 * - `missing`: the server does not have the gpucamp extension, or not this thing (404)
 * - `unavailable`: a helper behind the server did not answer (502, 503, 504)
 * - `fault`: the server failed (5xx), or its answer made no sense
 */
export type ApiErrorKind =
  'network' | 'stopped' | 'signed-out' | 'refused' | 'missing' | 'unavailable' | 'fault';

export class ApiError extends Error {
  /**
   * @param kind - what went wrong
   * @param message - the server's own words, for people; may be empty
   * @param status - the HTTP status; 0 when there was no answer
   */
  constructor(
    readonly kind: ApiErrorKind,
    message: string,
    readonly status = 0
  ) {
    super(message);
  }
}

/** The kind of an HTTP status. */
export function kindOf(status: number): ApiErrorKind {
  switch (status) {
    case 401:
    case 403:
      return 'signed-out';
    case 404:
      return 'missing';
    case 424:
      return 'stopped';
    case 502:
    case 503:
    case 504:
      return 'unavailable';
    default:
      return status < 500 ? 'refused' : 'fault';
  }
}

/** Whether the person (or a newer request) ended this, so that there is nothing to tell. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** What happened and what to do, in the reader's language. */
export function describeError(error: unknown, trans: TranslationBundle): string {
  if (!(error instanceof ApiError)) {
    const detail = oneLine(error instanceof Error ? error.message : String(error));
    return trans.__(
      'Something went wrong in this page: %1. Reload the page and try again.',
      detail
    );
  }
  const line = oneLine(error.message);
  const words = PHRASE.test(line) ? '' : line;
  switch (error.kind) {
    case 'network':
      return trans.__('Your server does not answer. Check your network, then try again.');
    case 'stopped':
      return trans.__('Your server is not running. Reload this page to start it.');
    case 'signed-out':
      return words || trans.__('Your session has ended. Reload this page to sign in again.');
    case 'missing':
      return (
        words ||
        trans.__(
          'This server has no gpucamp extension. Restart your server, or tell an instructor.'
        )
      );
    case 'unavailable':
      return words || trans.__('The gpucamp service does not answer. Try again in a minute.');
    case 'refused':
      return words || trans.__('The server refused this (error %1).', error.status);
    case 'fault':
      return words || trans.__('The server made an error (%1). Try again.', error.status);
  }
}

/** What HTTP and the web framework say of themselves; nobody knows from it what to do. */
const PHRASE =
  /xsrf|^(bad request|unauthorized|forbidden|not found|method not allowed|request timeout|conflict|gone|(request entity|payload|content) too large|too many requests|internal server error|bad gateway|service unavailable|gateway timeout)\.?$/i;

/** Words for people are in one line; what has more is a traceback, which helps nobody who reads it in a panel. */
function oneLine(text: string): string {
  const [first = '', ...more] = text.trim().split('\n');
  return more.length && /^Traceback\b/.test(first) ? '' : first;
}
