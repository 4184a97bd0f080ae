/**
 * Lists scripts to choose from.
 *
 * Guarantees: asks for at most `MAXIMUM_FOLDERS` folders and gives at most `MAXIMUM_SCRIPTS` paths, whatever the
 * work folder holds; a folder that cannot be read is passed over; shallow paths come first.
 */

export const MAXIMUM_FOLDERS = 60;
export const MAXIMUM_SCRIPTS = 300;
const DEEPEST = 4;

export interface Entry {
  name: string;
  path: string;
  type: string;
}

const NOT_THE_USERS =
  /^(\..*|__pycache__|node_modules|site-packages|venv|env|wandb|runs|checkpoints)$/;

/** @param list - the entries of a folder, by its path ("" for the root) */
export async function findScripts(list: (path: string) => Promise<Entry[]>): Promise<string[]> {
  const found: string[] = [];
  let level = [''];
  let asked = 0;
  for (let depth = 0; depth < DEEPEST && level.length > 0; depth++) {
    const folders = level.slice(0, MAXIMUM_FOLDERS - asked);
    asked += folders.length;
    const listed = await Promise.all(folders.map(path => list(path).catch((): Entry[] => [])));
    const entries = listed.flat();
    found.push(
      ...entries
        .filter(entry => entry.type === 'file' && /\.py$/i.test(entry.name))
        .map(entry => entry.path)
        .sort()
    );
    level = entries
      .filter(entry => entry.type === 'directory' && !NOT_THE_USERS.test(entry.name))
      .map(entry => entry.path)
      .sort();
    if (found.length >= MAXIMUM_SCRIPTS || asked >= MAXIMUM_FOLDERS) {
      break;
    }
  }
  return found.slice(0, MAXIMUM_SCRIPTS);
}
