/**
 * The words of the status bar. Pure.
 */
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Device, ServerStatus } from './wire';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size for people: 1536 -> "1.5 KiB". */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 && value % 1 !== 0 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** A device's name without what every such name says: "NVIDIA A100-SXM4-80GB" -> "A100". */
export function shortName(name: string | null): string {
  if (!name) {
    return '?';
  }
  const short = name
    .replace(/\((practice|simulated)\)/gi, ' ')
    .replace(/\b(NVIDIA|GeForce|Tesla|Simulated)\b/gi, ' ')
    .replace(/-(SXM\d*|PCIe)\b.*$/i, '')
    .replace(/\s+/g, ' ')
    .trim();
  return short || name;
}

/** The mean utilisation of the devices that tell it, in percent; null when none does. */
export function meanUtilization(devices: readonly Device[]): number | null {
  const known = devices
    .map(device => device.utilization_percent)
    .filter((value): value is number => value != null);
  return known.length
    ? Math.round(known.reduce((sum, value) => sum + value, 0) / known.length)
    : null;
}

/** E.g. "GPU: A100 (simulated) · 0%", "GPU: 2 × H100 · 87%", "No GPU". */
export function statusText(status: ServerStatus, trans: TranslationBundle): string {
  const [first, ...rest] = status.devices;
  if (!first) {
    return trans.__('No GPU');
  }
  const kinds = new Set(status.devices.map(device => shortName(device.name)));
  const kind = kinds.size === 1 ? shortName(first.name) : trans.__('GPUs');
  const count = rest.length ? `${status.devices.length} × ${kind}` : kind;
  const name = status.simulated ? trans.__('%1 (simulated)', count) : count;
  const utilization = meanUtilization(status.devices);
  const text = trans.__('GPU: %1', name);
  return utilization === null ? text : `${text} · ${utilization}%`;
}

/** What one device is doing, e.g. "12% busy, 3.5 GiB of 80 GiB used". */
export function deviceUse(device: Device, trans: TranslationBundle): string {
  const parts: string[] = [];
  if (device.utilization_percent != null) {
    parts.push(trans.__('%1% busy', device.utilization_percent));
  }
  if (device.memory_bytes != null && device.memory_used_bytes != null) {
    parts.push(
      trans.__('%1 of %2 used', bytesText(device.memory_used_bytes), bytesText(device.memory_bytes))
    );
  } else if (device.memory_bytes != null) {
    parts.push(bytesText(device.memory_bytes));
  }
  return parts.join(', ');
}

/** The tooltip: every device, and what a click does. */
export function statusTooltip(status: ServerStatus, trans: TranslationBundle): string {
  const lines = status.devices.map(device => {
    const use = deviceUse(device, trans);
    const name = device.name ?? device.uuid;
    return use ? `${name}: ${use}` : name;
  });
  if (lines.length === 0) {
    lines.push(trans.__('No GPU is assigned to this server. Choose one when you start it.'));
  } else if (status.simulated) {
    lines.push(trans.__('Practice mode: this GPU is simulated, programs run on the CPU.'));
  }
  return [...lines, trans.__('Click for details')].join('\n');
}
