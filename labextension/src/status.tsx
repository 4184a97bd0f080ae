import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar, type Popup, showPopup } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { Poll } from '@lumino/polling';
import * as React from 'react';

import { Api, type IApi } from './api';
import { CommandIDs } from './commands';
import { Button } from './components';
import { gpuIcon } from './icons';
import { DeviceHealth, LeaseDetails } from './lease/details';
import type { LeaseModel } from './lease/model';
import { ILease } from './lease/plugin';
import { hasTrouble, leaseStatusText, timeOf, wallClock } from './lease/texts';
import { bytesText, deviceUse, statusText, statusTooltip } from './statusText';
import { TestId } from './testids';
import type { ServerStatus } from './wire';

const FIRST_SECONDS = 10;
const LONGEST_WAIT_MS = 5 * 60 * 1000;

/**
 * The GPU in the status bar. Asks the server every few seconds while the page is visible, less and less often
 * while it does not answer.
 */
class StatusItem extends ReactWidget {
  constructor(
    private readonly api: IApi,
    private readonly commands: CommandRegistry,
    private readonly lease: LeaseModel | null,
    private readonly trans: TranslationBundle,
    private readonly language: string
  ) {
    super();
    this.addClass('gpucamp-StatusItem');
    lease?.stateChanged.connect(this._redraw, this);
    this._poll = new Poll({
      name: 'gpucamp:status',
      frequency: { interval: FIRST_SECONDS * 1000, backoff: true, max: LONGEST_WAIT_MS },
      standby: 'when-hidden',
      factory: () => this._ask()
    });
  }

  /** Seconds between two questions. */
  set seconds(value: number) {
    this._poll.frequency = { interval: value * 1000, backoff: true, max: LONGEST_WAIT_MS };
  }

  /** Stops asking while the item is switched off. */
  set active(value: boolean) {
    this.setHidden(!value);
    void (value ? this._poll.start() : this._poll.stop());
  }

  override dispose(): void {
    this.lease?.stateChanged.disconnect(this._redraw, this);
    this._poll.dispose();
    this._popup?.dispose();
    super.dispose();
  }

  protected override render(): React.ReactElement {
    const { trans } = this;
    const status = this._status;
    const text = this._failed ? trans.__('GPU: ?') : status ? statusText(status, trans) : 'GPU: …';
    const tooltip = this._failed
      ? trans.__('Your server does not say how the GPU is. Click to try again.')
      : status
        ? statusTooltip(status, trans)
        : '';
    const about = this._aboutTheLease();
    return (
      <button
        type="button"
        className={`gpucamp-Status jp-mod-highlighted ${about.attention ? 'gpucamp-mod-attention' : ''}`}
        data-testid={TestId.status}
        title={tooltip}
        aria-haspopup="dialog"
        onClick={() => this._open()}
      >
        <gpuIcon.react tag="span" className="gpucamp-Status-icon" aria-hidden="true" />
        <span>{about.text === null ? text : `${text} · ${about.text}`}</span>
      </button>
    );
  }

  private _aboutTheLease(): { text: string | null; attention: boolean } {
    const model = this.lease;
    const lease = model?.lease;
    if (!model || !lease) {
      return { text: null, attention: false };
    }
    const reclaim = timeOf(lease.reclaim_at);
    const at = reclaim === null ? null : wallClock(reclaim, model.now(), this.language);
    return {
      text: leaseStatusText(lease, model.left(), at, this.trans),
      attention: model.isEnding || hasTrouble(lease)
    };
  }

  private _redraw(): void {
    this.update();
    this._body?.update();
  }

  private async _ask(): Promise<void> {
    try {
      this._status = await this.api.status();
      this._failed = false;
    } catch (error) {
      this._failed = true;
      throw error; // the poll backs off
    } finally {
      this._redraw();
    }
  }

  private _open(): void {
    if (!this._status || this._failed) {
      void this._poll.refresh();
      return;
    }
    if (this._popup && !this._popup.isDisposed) {
      this._popup.dispose();
      return;
    }
    const body = new StatusDetails(
      () => this._status,
      () => {
        popup.dispose();
        void this.commands.execute(CommandIDs.doctor);
      },
      this.lease,
      this.trans,
      this.language
    );
    const popup = showPopup({ body, anchor: this, align: 'right' });
    popup.addClass('gpucamp-StatusPopup');
    const button = this.node.querySelector('button');
    // Whoever goes elsewhere, by mouse or keyboard, is done with it.
    body.node.addEventListener('focusout', event => {
      const next = event.relatedTarget;
      if (next !== button && !(next instanceof Node && body.node.contains(next))) {
        popup.dispose();
      }
    });
    popup.disposed.connect(() => {
      if (body.node.contains(document.activeElement)) {
        button?.focus();
      }
    });
    this._popup = popup;
    this._body = body;
    body.node.focus();
    void this._poll.refresh();
  }

  private _poll: Poll;
  private _status: ServerStatus | null = null;
  private _failed = false;
  private _popup: Popup | null = null;
  private _body: StatusDetails | null = null;
}

/** The popup: the devices, what they do, and the way to the doctor. */
class StatusDetails extends ReactWidget {
  constructor(
    private readonly status: () => ServerStatus | null,
    private readonly openDoctor: () => void,
    private readonly lease: LeaseModel | null,
    private readonly trans: TranslationBundle,
    private readonly language: string
  ) {
    super();
    this.addClass('gpucamp-StatusDetails');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'dialog');
    this.node.setAttribute('aria-label', trans.__('GPU'));
    this.node.dataset.testid = TestId.statusDetails;
  }

  protected override render(): React.ReactElement | null {
    const { trans } = this;
    const status = this.status();
    if (!status) {
      return null;
    }
    const leased = this.lease?.lease?.devices ?? [];
    const unseen = leased.filter(one => !status.devices.some(seen => seen.uuid === one.uuid));
    return (
      <>
        {this.lease && <LeaseDetails model={this.lease} trans={trans} language={this.language} />}
        {status.devices.length === 0 && unseen.length === 0 && (
          <p>{trans.__('No GPU is assigned to this server. Choose one when you start it.')}</p>
        )}
        {status.devices.map(device => (
          <div key={device.uuid} className="gpucamp-Device">
            <b>{device.name ?? device.uuid}</b>
            <p>{deviceUse(device, trans)}</p>
            <DeviceHealth device={leased.find(one => one.uuid === device.uuid)} trans={trans} />
            {device.memory_bytes != null && device.memory_used_bytes != null && (
              <meter
                min={0}
                max={device.memory_bytes}
                high={0.9 * device.memory_bytes}
                value={device.memory_used_bytes}
                aria-label={trans.__('GPU memory')}
              />
            )}
            <p className="gpucamp-Muted">{device.uuid}</p>
          </div>
        ))}
        {unseen.map(device => (
          <div key={device.uuid} className="gpucamp-Device">
            <b>{device.name || device.uuid}</b>
            <DeviceHealth device={device} trans={trans} />
            <p className="gpucamp-Muted">{device.uuid}</p>
          </div>
        ))}
        {status.simulated && (
          <p>{trans.__('Practice mode: this GPU is simulated, programs run on the CPU.')}</p>
        )}
        <dl className="gpucamp-Facts">
          {status.cpus != null && (
            <>
              <dt>{trans.__('CPUs')}</dt>
              <dd>{status.cpus}</dd>
            </>
          )}
          {status.memory_bytes != null && (
            <>
              <dt>{trans.__('Memory')}</dt>
              <dd>{bytesText(status.memory_bytes)}</dd>
            </>
          )}
          {status.shm_bytes != null && (
            <>
              <dt>{trans.__('Shared memory')}</dt>
              <dd>{bytesText(status.shm_bytes)}</dd>
            </>
          )}
          {status.generation != null && (
            <>
              <dt>{trans.__('Environment')}</dt>
              <dd>{trans.__('generation %1', status.generation)}</dd>
            </>
          )}
        </dl>
        <Button kind="accept" onClick={this.openDoctor}>
          {trans.__('GPU doctor')}
        </Button>
      </>
    );
  }
}

/** The GPU in the status bar, switched by the setting `statusBar`. */
export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 'gpucamp:plugin',
  description: 'Shows the GPU of this server in the status bar',
  autoStart: true,
  optional: [IStatusBar, ITranslator, ISettingRegistry, ILease],
  activate: (
    app: JupyterFrontEnd,
    statusBar: IStatusBar | null,
    translator: ITranslator | null,
    settingRegistry: ISettingRegistry | null,
    lease: LeaseModel | null
  ): void => {
    if (!statusBar) {
      return;
    }
    const language = translator ?? nullTranslator;
    const code = language.languageCode;
    const api = new Api(app.serviceManager.serverSettings, code);
    const item = new StatusItem(api, app.commands, lease, language.load('gpucamp'), code);
    statusBar.registerStatusItem('gpucamp:status', { item, align: 'right', rank: 90, priority: 1 });

    void settingRegistry
      ?.load('gpucamp:plugin')
      .then(settings => {
        const follow = (): void => {
          item.active = settings.get('statusBar').composite !== false;
          item.seconds = Number(settings.get('statusSeconds').composite) || FIRST_SECONDS;
        };
        settings.changed.connect(follow);
        follow();
      })
      .catch((error: unknown) => console.error('The settings of gpucamp cannot be read', error));
  }
};
