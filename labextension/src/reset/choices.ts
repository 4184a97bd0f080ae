/**
 * The three choices of a reset, in words. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

/** Restart kernels; remove what was installed; a new environment. */
export type ResetChoice = 'kernels' | 'packages' | 'new';

/** The mildest first. */
export const CHOICES: readonly ResetChoice[] = ['kernels', 'packages', 'new'];

export interface IChoiceText {
  name: string;
  goes: string;
  stays: string;
  /** What the button that does it says. */
  accept: string;
}

export function choiceText(choice: ResetChoice, trans: TranslationBundle): IChoiceText {
  switch (choice) {
    case 'kernels':
      return {
        name: trans.__('Restart kernels'),
        goes: trans.__('Goes: the variables in the kernels’ memory.'),
        stays: trans.__('Stays: everything else.'),
        accept: trans.__('Save all and restart kernels')
      };
    case 'packages':
      return {
        name: trans.__('Remove what I installed'),
        goes: trans.__('Goes: packages that you installed or changed. Kernels are restarted.'),
        stays: trans.__('Stays: your files, settings and caches, DDP runs, your GPU.'),
        accept: trans.__('Save all and remove')
      };
    case 'new':
      return {
        name: trans.__('New environment'),
        goes: trans.__(
          'Goes: packages, settings, caches, all in your home outside the work folder; kernels and DDP runs.'
        ),
        stays: trans.__('Stays: your work folder, your GPU. It can be undone.'),
        accept: trans.__('Save all and reset')
      };
  }
}

/** What is given to the command, if it is a choice. */
export function choiceOf(given: unknown): ResetChoice | null {
  return CHOICES.find(choice => choice === given) ?? null;
}
