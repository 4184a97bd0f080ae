/**
 * Which warning before the end of a lease is due. Pure.
 *
 * Guarantees: each threshold once for a lease and each extension by its user, so that nobody is warned twice of the
 * same; the last one for every new end, since a lease that goes on by itself ends again; only the latest threshold
 * that is passed, so that a page opened late shows one warning, not three.
 */
import type { Lease } from '../wire';

const MINUTE = 60_000;

export interface DueWarning {
  /** Names it, so that it can be remembered that it was shown. */
  key: string;
  minutes: number;
}

/**
 * @param left - milliseconds to the end; null where there is none
 * @param thresholds - minutes before the end, longest first
 */
export function dueWarning(
  lease: Lease,
  left: number | null,
  thresholds: readonly number[]
): DueWarning | null {
  if (left === null || left <= 0) {
    return null;
  }
  const passed = thresholds.filter(minutes => left <= minutes * MINUTE);
  const minutes = passed.at(-1);
  if (minutes === undefined) {
    return null;
  }
  const isLast = minutes === thresholds.at(-1);
  const end = isLast ? `/${lease.expires_at ?? ''}` : '';
  return { key: `${lease.id}/${lease.extensions}/${minutes}${end}`, minutes };
}
