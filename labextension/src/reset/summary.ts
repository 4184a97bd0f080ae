/**
 * What a reset takes away, in words. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ChangedPackage, ResetPreview } from '../wire';

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

/** The lines under "What goes". */
export function losses(preview: ResetPreview | null, trans: TranslationBundle): string[] {
  const lines: string[] = [];
  if (preview?.running_runs) {
    lines.push(
      trans._n(
        '%1 DDP run that is going on is ended',
        '%1 DDP runs that are going on are ended',
        preview.running_runs
      )
    );
  }
  if (preview?.kernels) {
    lines.push(
      trans._n(
        '%1 running kernel and its variables',
        '%1 running kernels and their variables',
        preview.kernels
      )
    );
  }
  const count = preview?.changed_packages.length ?? 0;
  lines.push(
    count
      ? trans._n(
          '%1 package that you installed or changed',
          '%1 packages that you installed or changed',
          count
        )
      : preview
        ? trans.__('No packages: yours are those of the image')
        : trans.__('Packages that you installed or changed'),
    trans.__('Settings, caches and files in your home outside the work folder')
  );
  return lines;
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
