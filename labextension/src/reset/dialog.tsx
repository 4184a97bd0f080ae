import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { IApi } from '../api';
import { describeError } from '../errors';
import { TestId } from '../testids';
import type { ResetPreview } from '../wire';
import { losses, packageText } from './summary';

/**
 * Asks whether to reset, showing what goes and what stays. The answer can be yes only after the server has told
 * what goes, or has failed to: a broken environment must not keep its owner from resetting it.
 */
export async function confirmReset(api: IApi, trans: TranslationBundle): Promise<boolean> {
  const asking = new AbortController();
  const renderer = new ResetRenderer();
  const body = new ResetBody(trans);
  const dialog = new Dialog({
    title: trans.__('Reset the environment?'),
    body,
    renderer,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({
        label: trans.__('Save all and reset'),
        className: ResetRenderer.CONFIRM_CLASS
      })
    ],
    // Enter does nothing that cannot be taken back.
    defaultButton: 0
  });
  dialog.node.dataset.testid = TestId.resetDialog;
  renderer.enable(false);
  const loading = api.resetPreview(asking.signal).then(
    preview => body.tell(preview, null),
    (error: unknown) => body.tell(null, error)
  );
  void loading.then(() => renderer.enable(true));
  const answer = await dialog.launch();
  asking.abort();
  return answer.button.accept;
}

/** Marks the button that resets, so that it can be found and held back. */
class ResetRenderer extends Dialog.Renderer {
  override createButtonNode(button: Dialog.IButton): HTMLButtonElement {
    const node = super.createButtonNode(button);
    if (button.className === ResetRenderer.CONFIRM_CLASS) {
      node.dataset.testid = TestId.resetConfirm;
      this._confirm = node;
    }
    return node;
  }

  enable(on: boolean): void {
    if (this._confirm) {
      this._confirm.disabled = !on;
    }
  }

  private _confirm: HTMLButtonElement | null = null;
}

namespace ResetRenderer {
  export const CONFIRM_CLASS = 'gpucamp-ResetConfirm';
}

class ResetBody extends ReactWidget {
  constructor(private readonly trans: TranslationBundle) {
    super();
    this.addClass('gpucamp-ResetDialog');
  }

  /** Takes what the server said. */
  tell(preview: ResetPreview | null, error: unknown): void {
    if (!this.isDisposed) {
      this._preview = preview;
      this._error = error;
      this._loaded = true;
      this.update();
    }
  }

  protected override render(): React.ReactElement {
    const { trans } = this;
    const changed = this._preview?.changed_packages ?? [];
    return (
      <>
        <p>
          {trans.__('You get a fresh environment, as the image has it. It takes a few seconds.')}
        </p>
        <h2>{trans.__('What goes')}</h2>
        {this._loaded ? (
          <ul>
            {losses(this._preview, trans).map(line => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        ) : (
          <p role="status">{trans.__('Looking at your environment…')}</p>
        )}
        {changed.length > 0 && (
          <details>
            <summary>{trans.__('Show the packages')}</summary>
            <ul className="gpucamp-Packages">
              {changed.map(one => (
                <li key={one.name}>{packageText(one, trans)}</li>
              ))}
            </ul>
          </details>
        )}
        {this._error !== null && (
          <p className="gpucamp-Field-problem" role="alert">
            {trans.__('What would go could not be listed.')} {describeError(this._error, trans)}
          </p>
        )}
        <h2>{trans.__('What stays')}</h2>
        <ul>
          <li>{trans.__('All files in your work folder')}</li>
          <li>{trans.__('Your GPU, if you have one')}</li>
        </ul>
        <p className="gpucamp-Muted">
          {trans.__(
            'The old environment is kept: “Undo last reset” in the GPU menu brings it back.'
          )}
        </p>
      </>
    );
  }

  private _preview: ResetPreview | null = null;
  private _error: unknown = null;
  private _loaded = false;
}
