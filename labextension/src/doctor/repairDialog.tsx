import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Command } from '../components';
import { TestId } from '../testids';
import type { Finding, Repair } from '../wire';

/** A kernel that runs, as a person knows it. */
export interface RunningKernel {
  id: string;
  /** Of its spec. */
  name: string;
  /** The notebook's or console's path, or the kernel's own name. */
  label: string;
  isBusy: boolean;
}

/**
 * Asks whether to do what is shown. Enter does nothing: the button that does it has to be chosen.
 *
 * @param accept - what the button that does it says
 * @param more - what is shown beneath, and may hold an answer of its own
 */
export async function askConsent(
  finding: Finding,
  repair: Repair,
  trans: TranslationBundle,
  accept: string,
  more: React.ReactNode = null
): Promise<boolean> {
  const dialog = new Dialog({
    title: finding.title,
    body: new Consent(repair, trans, more),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: accept })
    ],
    defaultButton: 0
  });
  dialog.node.dataset.testid = TestId.repairDialog;
  return (await dialog.launch()).button.accept;
}

/** Asks which kernels to shut down; the ids of the chosen ones, none when it was not agreed to. */
export async function chooseKernels(
  finding: Finding,
  repair: Repair,
  kernels: RunningKernel[],
  trans: TranslationBundle
): Promise<string[]> {
  const chosen = new Set<string>();
  const choice = (
    <fieldset className="gpucamp-Repair-kernels">
      <legend>{trans.__('Which ones?')}</legend>
      {kernels.length === 0 && <p>{trans.__('No kernel is running.')}</p>}
      {kernels.map(one => (
        <label key={one.id}>
          <input
            type="checkbox"
            onChange={event => {
              if (event.target.checked) {
                chosen.add(one.id);
              } else {
                chosen.delete(one.id);
              }
            }}
          />
          <span>
            {one.label} ({one.isBusy ? trans.__('busy') : trans.__('idle')})
          </span>
        </label>
      ))}
    </fieldset>
  );
  const agreed = await askConsent(finding, repair, trans, trans.__('Shut down'), choice);
  return agreed ? [...chosen] : [];
}

class Consent extends ReactWidget {
  constructor(
    private readonly repair: Repair,
    private readonly trans: TranslationBundle,
    private readonly more: React.ReactNode
  ) {
    super();
    this.addClass('gpucamp-RepairDialog');
  }

  protected override render(): React.ReactElement {
    const { repair, trans } = this;
    return (
      <>
        <Sentences texts={repair.says} />
        {this.more}
        {repair.command && (
          <>
            <h2>{trans.__('What is run')}</h2>
            <Command command={repair.command} trans={trans} testId={TestId.repairCommand} />
          </>
        )}
        {repair.loses.length > 0 && <h2>{trans.__('What is lost')}</h2>}
        <Sentences texts={repair.loses} />
        {repair.undo.length > 0 && <h2>{trans.__('The way back')}</h2>}
        <Sentences texts={repair.undo} />
      </>
    );
  }
}

function Sentences(props: { texts: string[] }): React.ReactElement {
  return (
    <>
      {props.texts.map(text => (
        <p key={text}>{text}</p>
      ))}
    </>
  );
}
