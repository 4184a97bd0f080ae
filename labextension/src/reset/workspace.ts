import type { IWindowResolver } from '@jupyterlab/apputils';
import type { Workspace } from '@jupyterlab/services';
import type { IStateDB } from '@jupyterlab/statedb';

/** A server that does not answer keeps nobody from a reset. */
const LONGEST_MS = 5_000;

/**
 * Gives the server the layout as it is now. JupyterLab itself does that half a second after a change
 * (@jupyterlab/apputils-extension), and a reset that comes before would keep the layout before it. Never rejects: what
 * is not saved is as JupyterLab saved it last.
 */
export async function saveWorkspace(
  workspaces: Pick<Workspace.IManager, 'save'>,
  resolver: IWindowResolver,
  state: IStateDB,
  longestMs = LONGEST_MS
): Promise<void> {
  const saved = async (): Promise<void> => {
    const id = resolver.name;
    await workspaces.save(id, { data: await state.toJSON(), metadata: { id } });
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The server does not answer')), longestMs);
  });
  try {
    await Promise.race([saved(), tooLong]);
  } catch (error) {
    console.warn('The layout was not saved', error);
  } finally {
    clearTimeout(timer);
  }
}
