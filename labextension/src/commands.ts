/**
 * The commands' names, and what all of them share.
 */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

export const CommandIDs = {
  doctor: 'gpucamp:doctor',
  launchDdp: 'gpucamp:launch-ddp',
  openRun: 'gpucamp:open-run',
  extendLease: 'gpucamp:extend-lease',
  askForHelp: 'gpucamp:ask-for-help',
  resetEnvironment: 'gpucamp:reset-environment',
  undoReset: 'gpucamp:undo-reset'
} as const;

export interface ICommandOptions {
  label: string;
  /** The label on a launcher card, where the dots of a menu entry do not belong. */
  cardLabel?: string;
  caption: string;
  icon?: LabIcon;
  /** JSON schema of the properties that the command takes. */
  args?: ReadonlyJSONObject;
  execute: (args: ReadonlyPartialJSONObject) => unknown;
}

/** Adds a command, documented for whoever calls it, and to the palette where there is one. */
export function addCommand(
  app: JupyterFrontEnd,
  trans: TranslationBundle,
  palette: ICommandPalette | null,
  id: string,
  options: ICommandOptions
): void {
  const { label, cardLabel, caption, icon, args, execute } = options;
  app.commands.addCommand(id, {
    label: given => (given['isLauncher'] ? (cardLabel ?? label) : label),
    caption,
    icon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          isLauncher: { type: 'boolean', description: 'Whether a launcher card shows the command' },
          ...args
        }
      }
    },
    execute
  });
  palette?.addItem({ command: id, category: trans.__('GPU') });
}
