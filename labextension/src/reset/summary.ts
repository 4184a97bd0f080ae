/**
 * What a reset takes away, and what it can be undone to, in words. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import { toMillis } from '../ddp/runText';
import { wallClock } from '../lease/texts';
import { bytesText } from '../statusText';
import type { ChangedPackage, LeftEnvironment, ResetPreview } from '../wire';

/** E.g. "numpy 2.3.1 instead of 2.2.6", "six 1.16.0, added", "pandas, removed". */
export function packageText(changed: ChangedPackage, trans: TranslationBundle): string {
  const { name, base, environment } = changed;
  if (base !== null && environment !== null) {
    return trans.__('%1 %2 instead of %3', name, environment, base);
  }
  return environment !== null
    ? trans.__('%1 %2, added', name, environment)
    : trans.__('%1, removed', name);
}

/** How many packages differ from the image's, and how much they take where that is known. */
export function packagesText(
  packages: readonly ChangedPackage[],
  trans: TranslationBundle
): string {
  if (packages.length === 0) {
    return trans.__('No packages: yours are those of the image');
  }
  const text = trans._n(
    '%1 package that you installed, changed or removed',
    '%1 packages that you installed, changed or removed',
    packages.length
  );
  const bytes = packages.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
  return bytes ? trans.__('%1 (%2)', text, bytesText(bytes)) : text;
}

/** Those whose name has `filter` in it; what was removed comes last. */
export function filtered(packages: readonly ChangedPackage[], filter: string): ChangedPackage[] {
  const wanted = filter.trim().toLowerCase();
  const found = packages.filter(one => one.name.toLowerCase().includes(wanted));
  return [
    ...found.filter(one => one.environment !== null),
    ...found.filter(one => one.environment === null)
  ];
}

/** The kernels that end or are restarted. */
export function kernelsText(preview: ResetPreview, trans: TranslationBundle): string {
  return preview.kernels
    ? trans._n(
        '%1 kernel is running: its variables are lost.',
        '%1 kernels are running: their variables are lost.',
        preview.kernels
      )
    : trans.__('No kernel is running.');
}

/** An environment that was left: when, and until when it is kept; the latter "" where that is not known. */
export function leftText(
  left: LeftEnvironment,
  now: number,
  language: string,
  trans: TranslationBundle
): { name: string; kept: string } {
  const at = toMillis(left.left_at);
  const expires = toMillis(left.expires);
  return {
    name:
      at === null
        ? trans.__('Environment %1', left.generation)
        : trans.__(
            'Environment %1, in use until %2',
            left.generation,
            wallClock(at, now, language)
          ),
    kept:
      expires !== null
        ? trans.__('Kept until %1.', wallClock(expires, now, language))
        : String(left.expires ?? '') // what is no time is words for people
  };
}

/** The address to go to, if it is one that a browser should open: http(s) only. */
export function progressAddress(url: string, here: string): string | null {
  try {
    const address = new URL(url, here);
    return /^https?:$/.test(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}
