/**
 * The words for a lease: how long it lasts, until when, and how its devices are. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Lease, LeasedDevice, LeaseView } from '../wire';

const MINUTE = 60_000;
const DAY = 24 * 60;

/**
 * A time span for people, in minutes begun: "1 h 12 min", "12 min".
 *
 * @param ms - milliseconds, more than 0
 */
export function durationText(ms: number, trans: TranslationBundle): string {
  const minutes = Math.ceil(ms / MINUTE);
  if (minutes < 60) {
    return trans.__('%1 min', minutes);
  }
  if (minutes < DAY) {
    const rest = minutes % 60;
    const hours = Math.floor(minutes / 60);
    return rest ? trans.__('%1 h %2 min', hours, rest) : trans.__('%1 h', hours);
  }
  const days = Math.floor(minutes / DAY);
  const hours = Math.floor((minutes % DAY) / 60);
  return hours ? trans.__('%1 d %2 h', days, hours) : trans.__('%1 d', days);
}

/** E.g. "1 h 12 min left"; what to say when nothing is left, too. */
export function timeLeftText(ms: number, trans: TranslationBundle): string {
  return ms > 0 ? trans.__('%1 left', durationText(ms, trans)) : trans.__('time is up');
}

/**
 * The time of day on the wall where the reader is; with the date where it is not today's.
 *
 * @param language - as JupyterLab names it, e.g. "zh_CN"
 */
export function wallClock(time: number, now: number, language: string): string {
  const sameDay = new Date(time).toDateString() === new Date(now).toDateString();
  const style: Intl.DateTimeFormatOptions = sameDay
    ? { hour: 'numeric', minute: '2-digit' }
    : { weekday: 'short', day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' };
  try {
    return new Intl.DateTimeFormat(language.replace('_', '-'), style).format(time);
  } catch {
    return new Intl.DateTimeFormat('en', style).format(time); // not a language's name
  }
}

/** Milliseconds since the epoch; null where there is no such time. */
export function timeOf(iso: string | null | undefined): number | null {
  const time = Date.parse(iso ?? '');
  return Number.isNaN(time) ? null : time;
}

/** Whether a device of the lease is not as it should be, or the lease is about to be taken. */
export function hasTrouble(lease: Lease): boolean {
  return lease.devices.some(one => one.state !== 'healthy') || lease.reclaim_at !== null;
}

/** How a device is, in words; null while there is nothing to say. */
export function healthText(device: LeasedDevice, trans: TranslationBundle): string | null {
  switch (device.state) {
    case 'quarantined':
      return device.reason
        ? trans.__('Quarantined: %1. Ask your instructor.', device.reason.replace(/\.$/, ''))
        : trans.__('Quarantined. Ask your instructor.');
    case 'missing':
      return trans.__('The machine does not find this GPU any more. Ask your instructor.');
    default:
      return device.cordon === 'draining'
        ? trans.__('It is being taken out of use, so your time with it cannot be extended.')
        : null;
  }
}

/** What the status bar adds to the GPU's name; null where there is nothing to add. */
export function leaseStatusText(
  lease: Lease,
  left: number | null,
  reclaimAt: string | null,
  trans: TranslationBundle
): string | null {
  if (lease.devices.some(device => device.state !== 'healthy')) {
    return trans.__('GPU trouble');
  }
  if (reclaimAt !== null) {
    return trans.__('taken back at %1', reclaimAt);
  }
  return left === null ? null : timeLeftText(left, trans);
}

/** "What happens then?", a paragraph each. */
export function whatHappensThen(view: LeaseView, end: string, trans: TranslationBundle): string[] {
  const paragraphs = [
    trans.__(
      'At %1 your server stops: running cells, terminals and DDP runs end, and the GPU goes to others.',
      end
    ),
    trans.__(
      'Your files in ~/work are safe: save what is open. What you installed stays, too. You can start your server again at any time.'
    )
  ];
  const lease = view.lease;
  if (lease?.reclaim_at) {
    paragraphs.push(trans.__('It is not taken back if you say that you are using it.'));
  } else if (lease && !lease.can_extend && lease.extend_refusal) {
    paragraphs.push(trans.__('It cannot be extended now: %1', lease.extend_refusal));
  } else if (lease?.can_extend) {
    paragraphs.push(trans.__('You can extend it while nobody waits for a GPU.'));
  }
  return paragraphs;
}
