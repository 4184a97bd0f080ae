/**
 * Asking for help: a hand that is raised, and lowered.
 */
import { Dialog, InputDialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { describeError } from '../errors';
import type { LeaseModel } from './model';
import { timeOf, wallClock } from './texts';

/** Characters; the server refuses more. */
const LONGEST_TEXT = 200;

/** What is told, and whether it is good. */
export type Tell = (text: string, isGood: boolean) => void;

/** Asks what is the matter and raises the hand; where it is up, offers to lower it. */
export async function askForHelp(
  model: LeaseModel,
  trans: TranslationBundle,
  language: string,
  tell: Tell
): Promise<void> {
  const { view, busy } = model.state;
  if (busy) {
    return;
  }
  if (!view || view.state === 'none' || !view.mine) {
    tell(trans.__('Nobody can be asked here: no gpucamp hub started this server for you.'), false);
    return;
  }
  const { hand } = view;
  if (hand) {
    const since = wallClock(timeOf(hand.raised_at) ?? model.now(), model.now(), language);
    const answer = await showDialog({
      title: trans.__('Your hand is up'),
      body: trans.__('Since %1. Who waits longest is helped first.', since),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Close') }),
        Dialog.okButton({ label: trans.__('Lower hand') })
      ]
    });
    if (answer.button.accept) {
      await told(model.lowerHand(), trans.__('The hand is down.'));
    }
    return;
  }
  const answer = await InputDialog.getText({
    title: trans.__('Ask for help'),
    label: trans.__('What is the matter? (optional)'),
    okLabel: trans.__('Raise hand')
  });
  if (answer.button.accept) {
    await told(
      model.raiseHand((answer.value ?? '').slice(0, LONGEST_TEXT)),
      trans.__('Your hand is up: your instructors see it.')
    );
  }

  async function told(wish: Promise<boolean>, good: string): Promise<void> {
    const heard = await wish;
    tell(heard ? good : describeError(model.state.error, trans), heard);
  }
}
