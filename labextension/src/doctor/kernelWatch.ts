/**
 * Tells when the kernel of a document or console breaks by itself.
 *
 * Guarantees: what the person asked for (restart, shutdown, another kernel, `exit()` in a cell) is never told: only
 * the server says of a kernel that it was restarted or is dead, and only when it ended by itself. A single death is
 * not told, JupyterLab says it; a second within ten minutes is, and so is a kernel that the server gave up or that
 * never came to work. (One that is shut down from the list of kernels before it ever worked looks the same.)
 */
import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, Session } from '@jupyterlab/services';

import type { Cause } from './suggest';

const DEATHS = 2;
const WITHIN_MS = 10 * 60_000;

/** What is used of JupyterLab's session context. */
export type IWatched = Pick<
  ISessionContext,
  'session' | 'sessionChanged' | 'statusChanged' | 'kernelDisplayName' | 'name' | 'kernelPreference'
>;

export interface IKernelListener {
  broke: (cause: Cause) => void;
  /** A kernel of this spec works. */
  works: (kernel: string) => void;
  /** The name of the spec that is shown so; null: none. */
  specOf: (displayName: string) => string | null;
}

/** Whether the last of these deaths (times in milliseconds, oldest first) is one too many. */
export function isRepeated(deaths: readonly number[]): boolean {
  const last = deaths.at(-1);
  return last !== undefined && deaths.filter(time => last - time <= WITHIN_MS).length >= DEATHS;
}

/** Watches until `context` is disposed. */
export function watchKernel(context: IWatched, listener: IKernelListener): void {
  /** The spec that is being started: set from the start to what comes of it. */
  let starting: { kernel: string | null } | null = null;
  let watched: Session.ISessionConnection | null = null;
  let deaths: number[] = [];
  let hasWorked = false;
  let isAskedToExit = false;
  let isEnding = false;

  const notStarted = (kernel: string | null): void =>
    listener.broke({ kind: 'not-started', kernel, name: context.name });

  const died = (isGivenUp: boolean): void => {
    const session = watched;
    if (!session) {
      return;
    }
    const kernel = session.kernel?.name ?? null;
    if (isAskedToExit) {
      isAskedToExit = false;
      return;
    }
    deaths.push(Date.now());
    if (!isGivenUp && !isRepeated(deaths)) {
      return;
    }
    if (hasWorked) {
      listener.broke({ kind: 'died', session: session.id, kernel, name: context.name });
    } else {
      notStarted(kernel);
    }
  };

  const hear = (_: unknown, { msg, direction }: Kernel.IAnyMessageArgs): void => {
    if (direction !== 'recv') {
      return;
    }
    if (msg.header.msg_type === 'status') {
      const { execution_state: state } = msg.content as { execution_state?: string };
      if (state === 'restarting' || state === 'dead') {
        died(state === 'dead');
      }
    } else if (msg.header.msg_type === 'execute_reply') {
      const { payload } = msg.content as { payload?: { source?: string }[] };
      isAskedToExit ||= payload?.some(one => one.source === 'ask_exit') ?? false;
    }
  };

  const follow = (): void => {
    if (watched === context.session) {
      return;
    }
    watched?.anyMessage.disconnect(hear);
    watched = context.session;
    watched?.anyMessage.connect(hear);
    deaths = [];
    hasWorked = false;
    isAskedToExit = false;
    isEnding = false;
  };

  context.statusChanged.connect((_, status) => {
    switch (status) {
      case 'starting':
        if (!context.session) {
          const { kernelDisplayName, kernelPreference } = context;
          starting = {
            kernel: listener.specOf(kernelDisplayName) ?? kernelPreference.name ?? null
          };
        }
        break;
      case 'terminating':
        starting = null; // asked for
        isEnding = true;
        break;
      case 'dead':
        // While a kernel does not answer, the server opens no connection on which it could say that it died.
        if (!hasWorked && !isEnding) {
          notStarted(context.session?.kernel?.name ?? null);
        }
        break;
      case 'idle':
      case 'busy':
        if (!hasWorked && context.session?.kernel) {
          hasWorked = true;
          listener.works(context.session.kernel.name);
        }
        break;
    }
  });
  context.sessionChanged.connect((_, { oldValue, newValue }) => {
    if (!oldValue && !newValue && starting) {
      notStarted(starting.kernel);
    }
    starting = null;
    follow();
  });
  follow();
}
