/**
 * The lease in the popup of the status bar.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button } from '../components';
import { describeError } from '../errors';
import { TestId } from '../testids';
import type { LeasedDevice } from '../wire';
import type { LeaseModel } from './model';
import { healthText, timeLeftText, timeOf, wallClock } from './texts';

/** How a device is, if that is worth a word. */
export function DeviceHealth(props: {
  device: LeasedDevice | undefined;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const text = props.device ? healthText(props.device, props.trans) : null;
  return text === null ? null : (
    <p className="gpucamp-Attention">
      <span aria-hidden="true">⚠ </span>
      {text}
    </p>
  );
}

/** The end, how to put it off, and what else there is to know of the lease. */
export function LeaseDetails(props: {
  model: LeaseModel;
  trans: TranslationBundle;
  language: string;
}): React.ReactElement | null {
  const { model, trans, language } = props;
  const { view, busy, error } = model.state;
  const lease = model.lease;
  if (!view || view.state === 'none' || (!lease && !view.hand && view.state === 'known')) {
    return null;
  }
  const left = model.left();
  const end = timeOf(lease?.expires_at);
  const reclaim = timeOf(lease?.reclaim_at);
  const clock = (time: number): string => wallClock(time, model.now(), language);
  return (
    <section className="gpucamp-Lease" aria-label={trans.__('Lease')}>
      {lease && left !== null && end !== null && (
        <p data-testid={TestId.leaseEnd}>
          <b className={model.isEnding ? 'gpucamp-Attention' : ''}>{timeLeftText(left, trans)}</b>
          {' · '}
          {trans.__('ends at %1', clock(end))}
          {lease.extensions > 0 && (
            <>
              {' · '}
              {trans._n('extended %1 time', 'extended %1 times', lease.extensions)}
            </>
          )}
        </p>
      )}
      {lease && left === null && lease.devices.length > 0 && (
        <p>{trans.__('No end: the GPU is yours until you stop your server.')}</p>
      )}
      {lease && view.mine && end !== null && (
        <div className="gpucamp-Lease-extend">
          <Button
            testId={TestId.leaseExtend}
            // Not `disabled`: that would take the focus, and with it the popup, away.
            aria-disabled={!lease.can_extend || busy !== null}
            aria-describedby="gpucamp-extend-refusal"
            onClick={() => {
              if (lease.can_extend) {
                void model.extend();
              }
            }}
          >
            {busy === 'extend' ? trans.__('Extending…') : trans.__('Extend')}
          </Button>
          <span id="gpucamp-extend-refusal" className="gpucamp-Muted">
            {lease.can_extend ? '' : lease.extend_refusal}
          </span>
        </div>
      )}
      {lease && reclaim !== null && (
        <>
          <p className="gpucamp-Attention">
            {trans.__(
              'Your GPU does nothing and others wait: it will be taken back at %1.',
              clock(reclaim)
            )}
          </p>
          {view.mine && (
            <Button
              kind="accept"
              testId={TestId.leaseKeep}
              aria-disabled={busy !== null}
              onClick={() => void model.keep()}
            >
              {trans.__('I am using it')}
            </Button>
          )}
        </>
      )}
      {view.hand && (
        <>
          <p className="gpucamp-Attention">{trans.__('Your hand is up')}</p>
          <Button
            testId={TestId.lowerHand}
            aria-disabled={busy !== null}
            onClick={() => void model.lowerHand()}
          >
            {trans.__('Lower hand')}
          </Button>
        </>
      )}
      {error !== null && (
        <p role="alert" className="gpucamp-Field-problem">
          {describeError(error, trans)}
        </p>
      )}
      {lease?.shared && (
        <p className="gpucamp-Attention">
          {trans.__('Shared with others: memory is not protected.')}
        </p>
      )}
      {view.state === 'unknown' && (
        <p className="gpucamp-Muted">
          {lease
            ? trans.__('The gpucamp service does not answer now; this is what it said last.')
            : trans.__('The gpucamp service does not answer now, so how long you have is unknown.')}
        </p>
      )}
    </section>
  );
}
