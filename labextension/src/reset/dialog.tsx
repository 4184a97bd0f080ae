import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { IApi } from '../api';
import { ErrorBox } from '../components';
import { resetChoiceTestId, TestId } from '../testids';
import { CHOICES, choiceText, type ResetChoice } from './choices';
import { FilesPart } from './filesPart';
import { type Agreed, ResetModel } from './model';
import { PackagesPart } from './packagesPart';
import { kernelsText } from './summary';

/**
 * Asks which reset is wanted, showing what goes and what stays; null: none.
 *
 * Guarantees: Enter does nothing but press the button that has the focus, and Escape closes; the button that does it
 * can be pressed only after the server has told what goes, or has failed to: a broken environment must not keep its
 * owner from resetting it.
 */
export async function askReset(
  api: Pick<IApi, 'resetPreview'>,
  trans: TranslationBundle,
  choice: ResetChoice
): Promise<Agreed | null> {
  const model = new ResetModel(api, choice);
  const confirm = new ConfirmButton(model, trans);
  const dialog = new ChoiceDialog({
    title: trans.__('Reset environment'),
    body: new ResetBody(model, trans),
    renderer: confirm,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({
        label: choiceText(choice, trans).accept,
        className: ConfirmButton.CLASS
      })
    ],
    defaultButton: 0,
    focusNodeSelector: CHOSEN
  });
  dialog.node.dataset.testid = TestId.resetDialog;
  void model.load();
  const answer = await dialog.launch();
  const agreed = answer.button.accept && model.canConfirm ? model.agreed : null;
  model.dispose();
  return agreed;
}

/** What has the focus at first. */
export const CHOSEN = 'input[type="radio"]:checked';

/**
 * A dialog in which Enter in a field does not close it, which would throw away what was chosen, and which leaves it to
 * others whether its buttons can be pressed: JupyterLab's own makes them so with each input.
 */
export class ChoiceDialog<T> extends Dialog<T> {
  override handleEvent(event: Event): void {
    if (event.type === 'input') {
      return;
    }
    const isEnter = event instanceof KeyboardEvent && event.key === 'Enter';
    if (isEnter && event.target instanceof HTMLInputElement) {
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    super.handleEvent(event);
  }
}

/** Keeps the button that does it in line with what is chosen. */
class ConfirmButton extends Dialog.Renderer {
  constructor(
    private readonly model: ResetModel,
    private readonly trans: TranslationBundle
  ) {
    super();
    model.stateChanged.connect(() => this._draw());
  }

  override createButtonNode(button: Dialog.IButton): HTMLButtonElement {
    const node = super.createButtonNode(button);
    if (button.className === ConfirmButton.CLASS) {
      node.dataset.testid = TestId.resetConfirm;
      this._node = node;
      this._draw();
    }
    return node;
  }

  private _draw(): void {
    if (this._node) {
      this._node.disabled = !this.model.canConfirm;
      const label = this._node.querySelector('.jp-Dialog-buttonLabel') ?? this._node;
      label.textContent = choiceText(this.model.state.choice, this.trans).accept;
    }
  }

  private _node: HTMLButtonElement | null = null;
}

namespace ConfirmButton {
  export const CLASS = 'gpucamp-ResetConfirm';
}

class ResetBody extends ReactWidget {
  constructor(
    private readonly model: ResetModel,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('gpucamp-ResetDialog');
    model.stateChanged.connect(() => this.update());
  }

  protected override onBeforeAttach(message: Message): void {
    super.onBeforeAttach(message);
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', this.trans.__('Reset environment'));
  }

  protected override render(): React.ReactElement {
    const { model, trans } = this;
    return (
      <>
        <Choices model={model} trans={trans} />
        <div className="gpucamp-Reset-details" data-testid={TestId.resetDetails}>
          <Details model={model} trans={trans} />
        </div>
      </>
    );
  }
}

/** Radio buttons; the one that is chosen has the focus when they appear. */
export function ChoiceField(props: {
  legend: string;
  children: React.ReactNode;
}): React.ReactElement {
  const field = React.useRef<HTMLFieldSetElement>(null);
  React.useEffect(() => {
    field.current?.querySelector<HTMLInputElement>(CHOSEN)?.focus();
  }, []);
  return (
    <fieldset ref={field} className="gpucamp-Reset-choices">
      <legend>{props.legend}</legend>
      {props.children}
    </fieldset>
  );
}

interface IPartProps {
  model: ResetModel;
  trans: TranslationBundle;
}

function Choices({ model, trans }: IPartProps): React.ReactElement {
  return (
    <ChoiceField legend={trans.__('How much? The mildest comes first.')}>
      {CHOICES.map(choice => {
        const { name, goes, stays } = choiceText(choice, trans);
        const about = `gpucamp-reset-about-${choice}`;
        return (
          <label key={choice}>
            <input
              type="radio"
              name="gpucamp-reset-choice"
              checked={model.state.choice === choice}
              aria-label={name}
              aria-describedby={about}
              onChange={() => model.choose(choice)}
              data-testid={resetChoiceTestId(choice)}
            />
            <span>
              <b>{name}</b>
              <span id={about} className="gpucamp-Reset-about">
                <span>{goes}</span> <span>{stays}</span>
              </span>
            </span>
          </label>
        );
      })}
    </ChoiceField>
  );
}

/** What the choice takes, as the server lists it. */
function Details({ model, trans }: IPartProps): React.ReactElement {
  const { phase, error, preview, choice, endsRuns } = model.state;
  if (phase === 'loading') {
    return <p role="status">{trans.__('Looking at your environment…')}</p>;
  }
  if (model.isForbidden) {
    return <ErrorBox error={error} trans={trans} />;
  }
  const unlisted = phase === 'failed' && choice !== 'kernels' && (
    <>
      <ErrorBox error={error} trans={trans} retry={() => void model.load()} />
      <p>{trans.__('What would go could not be listed. You can go on all the same.')}</p>
    </>
  );
  const kernels = preview && <p>{kernelsText(preview, trans)}</p>;
  if (choice === 'kernels') {
    return <>{kernels}</>;
  }
  if (choice === 'packages') {
    return (
      <>
        {unlisted}
        {preview && <PackagesPart model={model} trans={trans} />}
        {kernels}
        {preview && preview.running_runs > 0 && (
          <p>{trans.__('A DDP run goes on with these packages and may fail without them.')}</p>
        )}
        <p className="gpucamp-Muted">
          {trans.__('It cannot be undone; “gpucamp-env freeze” in a terminal keeps a list.')}
        </p>
      </>
    );
  }
  return (
    <>
      {unlisted}
      {preview && <h2>{trans.__('What ends')}</h2>}
      {kernels}
      {preview && preview.running_runs > 0 && (
        <label className="gpucamp-Reset-consent">
          <input
            type="checkbox"
            checked={endsRuns}
            aria-required="true"
            onChange={event => model.setEndsRuns(event.target.checked)}
            data-testid={TestId.resetEndRuns}
          />
          <span>
            {trans._n(
              'Yes, end the %1 DDP run that goes on',
              'Yes, end the %1 DDP runs that go on',
              preview.running_runs
            )}
          </span>
        </label>
      )}
      {preview && <PackagesPart model={model} trans={trans} again />}
      {preview && <FilesPart model={model} trans={trans} />}
      <p className="gpucamp-Muted">
        {trans.__(
          'The old environment is kept for two more resets: “Undo last reset” in the GPU menu brings it back.'
        )}
      </p>
    </>
  );
}
