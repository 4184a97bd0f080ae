import { describe, expect, test } from 'vitest';

import { ApiError, describeError, kindOf } from '../src/errors';
import {
  bytesText,
  meanUtilization,
  shortName,
  statusText,
  statusTooltip
} from '../src/statusText';
import type { Device, ServerStatus } from '../src/wire';
import { english } from './helpers';

const device = (more: Partial<Device> = {}): Device => ({
  uuid: 'GPU-1',
  name: 'NVIDIA A100-SXM4-80GB',
  memory_bytes: 80 * 2 ** 30,
  memory_used_bytes: 2 ** 30,
  utilization_percent: 10,
  ...more
});

const status = (devices: Device[], simulated = false): ServerStatus => ({
  user: 'ada',
  server: '',
  generation: 1,
  simulated,
  devices,
  cpus: 2,
  memory_bytes: null,
  shm_bytes: null,
  shm_free_bytes: null,
  service: true
});

describe('the status bar', () => {
  test.each([
    [status([]), 'No GPU'],
    [status([device()]), 'GPU: A100 · 10%'],
    [status([device({ name: 'Simulated A100 (practice)' })], true), 'GPU: A100 (simulated) · 10%'],
    [status([device(), device({ utilization_percent: 31 })]), 'GPU: 2 × A100 · 21%'],
    [status([device(), device({ name: 'NVIDIA H100 PCIe' })]), 'GPU: 2 × GPUs · 10%'],
    [status([device({ utilization_percent: null })]), 'GPU: A100'],
    [status([device({ name: null, utilization_percent: 0 })]), 'GPU: ? · 0%']
  ])('says %#: %s', (value, text) => {
    expect(statusText(value, english)).toBe(text);
  });

  test.each([
    ['NVIDIA GeForce RTX 4090', 'RTX 4090'],
    ['Tesla T4', 'T4'],
    ['NVIDIA A100-PCIE-40GB', 'A100'],
    ['NVIDIA A100-SXM4-40GB MIG 1g.5gb', 'A100'],
    ['NVIDIA', 'NVIDIA']
  ])('shortens %s to %s', (name, short) => {
    expect(shortName(name)).toBe(short);
  });

  test('the tooltip tells each device, and what is simulated', () => {
    expect(statusTooltip(status([device()], true), english).split('\n')).toEqual([
      'NVIDIA A100-SXM4-80GB: 10% busy, 1 GiB of 80 GiB used',
      'Practice mode: this GPU is simulated, programs run on the CPU.',
      'Click for details'
    ]);
    expect(statusTooltip(status([]), english)).toContain('Choose one when you start it.');
  });

  test('the mean leaves out devices that do not tell', () => {
    expect(meanUtilization([])).toBeNull();
    expect(meanUtilization([device({ utilization_percent: null }), device()])).toBe(10);
  });

  test('sizes', () => {
    expect([0, 1023, 1536, 2 ** 20, 10.6 * 2 ** 30, 2 ** 50].map(bytesText)).toEqual([
      '0 B',
      '1023 B',
      '1.5 KiB',
      '1 MiB',
      '11 GiB',
      '1024 TiB'
    ]);
  });
});

describe('errors', () => {
  test.each([
    [400, 'refused'],
    [401, 'signed-out'],
    [403, 'signed-out'],
    [404, 'missing'],
    [409, 'refused'],
    [424, 'stopped'],
    [500, 'fault'],
    [502, 'unavailable'],
    [503, 'unavailable']
  ])('%i is %s', (code, kind) => {
    expect(kindOf(code)).toBe(kind);
  });

  test('the words of the server come first; without them it is said what to do', () => {
    expect(describeError(new ApiError('refused', 'Use 1 to 4.', 400), english)).toBe('Use 1 to 4.');
    expect(describeError(new ApiError('network', ''), english)).toMatch(/try again/);
    for (const words of ['Forbidden', "'_xsrf' argument missing from POST", '']) {
      const error = new ApiError('signed-out', words, 403);
      expect(describeError(error, english)).toBe(
        'Your session has ended. Reload this page to sign in again.'
      );
    }
    expect(describeError(new ApiError('fault', 'Internal Server Error', 500), english)).toBe(
      'The server made an error (500). Try again.'
    );
    expect(describeError(new ApiError('stopped', 'Failed Dependency', 424), english)).toMatch(
      /Reload this page/
    );
    expect(describeError(new Error('boom'), english)).toMatch(/boom.*Reload/);
    expect(describeError('boom', english)).toMatch(/boom/);
  });
});
