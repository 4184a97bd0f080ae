/**
 * Back to the workspace that a reset was asked for in: the progress page leads to the default one.
 *
 * Guarantees: what was kept is used once, and not after half an hour; it leads to a workspace of this server only.
 */

const LONGEST_MS = 30 * 60_000;

interface IKept {
  path: string;
  at: number;
}

/** Keeps where one is, in this tab. */
export function keepPlace(storage: Storage | null, baseUrl: string, path: string): void {
  try {
    storage?.setItem(key(baseUrl), JSON.stringify({ path, at: Date.now() } satisfies IKept));
  } catch {
    // No room: then one is led to the default workspace.
  }
}

/** Where to go on from `path`; null: nowhere else. */
export function takePlace(storage: Storage | null, baseUrl: string, path: string): string | null {
  try {
    const text = storage?.getItem(key(baseUrl));
    storage?.removeItem(key(baseUrl));
    const kept = JSON.parse(text ?? 'null') as IKept | null;
    const wanted = kept && Date.now() - kept.at < LONGEST_MS ? kept.path : null;
    const place = wanted && workspaceOf(wanted, baseUrl);
    return place && place !== workspaceOf(path, baseUrl) ? place : null;
  } catch {
    return null;
  }
}

/** The path of the workspace that `path` is in; null for the default one. */
function workspaceOf(path: string, baseUrl: string): string | null {
  const begin = `${baseUrl}lab/workspaces/`;
  const [name] = path.startsWith(begin) ? path.slice(begin.length).split('/') : [];
  return name && /^[\w%.~-]+$/.test(name) ? begin + name : null;
}

function key(baseUrl: string): string {
  return `gpucamp:place:${baseUrl}`;
}
