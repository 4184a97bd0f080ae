import type { IWindowResolver } from '@jupyterlab/apputils';
import { StateDB } from '@jupyterlab/statedb';
import { afterEach, expect, it, vi } from 'vitest';

import { saveWorkspace } from '../src/reset/workspace';

const resolver = { name: 'side' } as IWindowResolver;

afterEach(() => {
  vi.restoreAllMocks();
});

it('gives the server what JupyterLab has not saved yet', async () => {
  const state = new StateDB();
  await state.save('layout-restorer:data', { main: 'train.py' });
  const save = vi.fn(() => Promise.resolve());
  await saveWorkspace({ save }, resolver, state);
  expect(save.mock.calls).toEqual([
    ['side', { data: { 'layout-restorer:data': { main: 'train.py' } }, metadata: { id: 'side' } }]
  ]);
});

it.each([
  ['refuses', () => Promise.reject(new Error('507'))],
  ['does not answer', () => new Promise<void>(() => undefined)]
])('keeps nobody from a reset where the server %s', async (_, save) => {
  const warn = vi.spyOn(console, 'warn').mockReturnValue();
  await saveWorkspace({ save }, resolver, new StateDB(), 10);
  expect(warn).toHaveBeenCalledOnce();
});
