import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { TestId } from '../testids';
import type { LeftEnvironment, ResetPreview } from '../wire';
import { ChoiceDialog, ChoiceField, CHOSEN } from './dialog';
import { leftText } from './summary';

/** What was agreed to. generation: null: the last, where the service does not list them. */
export interface AgreedUndo {
  generation: number | null;
  runs: number;
}

/** Asks which environment is to be brought back; null: none. */
export async function askUndo(
  preview: ResetPreview,
  trans: TranslationBundle,
  language: string
): Promise<AgreedUndo | null> {
  const body = new UndoBody(preview, trans, language);
  const dialog = new ChoiceDialog({
    title: trans.__('Undo the last reset?'),
    body,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Save all and undo') })
    ],
    defaultButton: 0,
    focusNodeSelector: CHOSEN
  });
  dialog.node.dataset.testid = TestId.undoDialog;
  const answer = await dialog.launch();
  return answer.button.accept
    ? { generation: body.chosen?.generation ?? null, runs: preview.running_runs }
    : null;
}

class UndoBody extends ReactWidget {
  constructor(
    private readonly preview: ResetPreview,
    private readonly trans: TranslationBundle,
    private readonly language: string
  ) {
    super();
    this.addClass('gpucamp-ResetDialog');
    this.chosen = preview.undo[0] ?? null;
  }

  chosen: LeftEnvironment | null;

  get hasChoice(): boolean {
    return this.preview.undo.length > 1;
  }

  protected override render(): React.ReactElement {
    const { preview, trans } = this;
    return (
      <>
        <p>
          {trans.__(
            'Your server restarts with the environment that you had before the reset. All files in your work folder stay.'
          )}
        </p>
        {this.hasChoice ? (
          <ChoiceField legend={trans.__('Which environment?')}>
            {preview.undo.map(left => (
              <label key={left.generation}>
                <input
                  type="radio"
                  name="gpucamp-undo"
                  checked={left === this.chosen}
                  onChange={() => {
                    this.chosen = left;
                    this.update();
                  }}
                />
                <Left left={left} language={this.language} trans={trans} />
              </label>
            ))}
          </ChoiceField>
        ) : (
          this.chosen && (
            <p>
              <Left left={this.chosen} language={this.language} trans={trans} />
            </p>
          )
        )}
        {preview.kernels > 0 && (
          <p>
            {trans._n(
              '%1 kernel that runs is ended.',
              '%1 kernels that run are ended.',
              preview.kernels
            )}
          </p>
        )}
        {preview.running_runs > 0 && (
          <p>
            {trans._n(
              '%1 DDP run that goes on is ended.',
              '%1 DDP runs that go on are ended.',
              preview.running_runs
            )}
          </p>
        )}
        <p className="gpucamp-Muted">
          {trans.__('The environment of now is kept: you can undo this, too.')}
        </p>
      </>
    );
  }
}

function Left(props: {
  left: LeftEnvironment;
  language: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const { name, kept } = leftText(props.left, Date.now(), props.language, props.trans);
  return (
    <span>
      <b>{name}</b>
      <span className="gpucamp-Reset-about">{kept}</span>
    </span>
  );
}
