// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { KernelsModel } from '../src/ddp/kernelsModel';
import { heldText, KernelsPart, kernelText } from '../src/ddp/kernelsPart';
import { ApiError } from '../src/errors';
import { TestId } from '../src/testids';
import type { HeldByKernel, KernelsHeld } from '../src/wire';
import { Deferred, english, fakeApi } from './helpers';

afterEach(cleanup);

/** jsdom does not open dialogs, and what is in a closed one is hidden. */
const CLOSED = { hidden: true };
const GIB = 2 ** 30;
const kernel = (change: Partial<HeldByKernel> = {}): HeldByKernel => ({
  id: 'k1',
  name: 'python3',
  label: 'a.ipynb',
  state: 'idle',
  memory_bytes: GIB,
  gpu_bytes: 0,
  uses_gpu: false,
  ...change
});

function draw(
  kernels: HeldByKernel[],
  how: { much?: boolean; end?: (id: string) => Promise<void> } = {}
): { model: KernelsModel; ended: string[]; told: () => number } {
  const ended: string[] = [];
  let told = 0;
  const left = [...kernels];
  const model = new KernelsModel({
    api: fakeApi({
      ddpKernels: () =>
        Promise.resolve({
          known: true,
          much: how.much ?? true,
          memory_limit_bytes: null,
          kernels: [...left]
        })
    }),
    end: async id => {
      await how.end?.(id);
      ended.push(id);
      left.splice(
        left.findIndex(one => one.id === id),
        1
      );
    },
    ended: () => {
      told += 1;
    }
  });
  render(<KernelsPart model={model} trans={english} />);
  return { model, ended, told: () => told };
}

test('nothing is said where no kernel runs, or where the server does not answer', async () => {
  const { model } = draw([]);
  await model.refresh();
  expect(screen.queryByTestId(TestId.ddpKernels)).toBeNull();
  const silent = new KernelsModel({
    api: fakeApi({ ddpKernels: () => Promise.reject(new ApiError('network', '')) }),
    end: () => Promise.resolve(),
    ended: () => undefined
  });
  await silent.refresh();
  expect(silent.state.held).toBeNull();
});

test('what is much is unfolded, little is not', async () => {
  const { model } = draw([kernel()], { much: true });
  await model.refresh();
  const part = await screen.findByTestId<HTMLDetailsElement>(TestId.ddpKernels);
  await waitFor(() => expect(part.open).toBe(true));
  expect(part.querySelector('summary')?.textContent).toContain('1 kernel of yours runs · 1 GiB');
  cleanup();
  const little = draw([kernel({ memory_bytes: 2 ** 26 })], { much: false });
  await little.model.refresh();
  expect((await screen.findByTestId<HTMLDetailsElement>(TestId.ddpKernels)).open).toBe(false);
});

test('what is not known is said to be so', () => {
  expect(kernelText(kernel({ uses_gpu: true, gpu_bytes: null }), english)).toBe(
    'uses a GPU, how much is not known · 1 GiB of memory'
  );
  expect(kernelText(kernel({ memory_bytes: null }), english)).toBe('memory: not known');
  expect(
    heldText([kernel({ uses_gpu: true, gpu_bytes: 2 * GIB }), kernel({ id: 'k2' })], english)
  ).toBe('2 kernels of yours run · 2 GiB of GPU memory · 2 GiB of memory');
});

test('chosen kernels are shut down after a question, and all is looked at again', async () => {
  const { model, ended, told } = draw([
    kernel(),
    kernel({ id: 'k2', label: '', state: 'busy' }),
    kernel({ id: 'k3', label: 'c.ipynb' })
  ]);
  await model.refresh();
  const button = await screen.findByTestId<HTMLButtonElement>(TestId.ddpKernelsEnd);
  expect(button.disabled).toBe(true);
  await userEvent.click(screen.getByLabelText('a.ipynb'));
  await userEvent.click(screen.getByLabelText('python3 (k2)'));
  await userEvent.click(button);
  const dialog = await screen.findByRole('dialog', CLOSED);
  expect(dialog.textContent).toContain('Variables that are not saved are lost');
  expect(
    within(dialog)
      .getAllByRole('listitem', CLOSED)
      .map(item => item.textContent)
  ).toEqual(['a.ipynb', 'python3 (k2) · a cell runs in it']);
  expect(ended).toEqual([]);
  await userEvent.click(within(dialog).getByRole('button', { name: 'Shut down', ...CLOSED }));
  await waitFor(() => expect(told()).toBe(1));
  expect(ended).toEqual(['k1', 'k2']);
  expect(screen.queryByLabelText('a.ipynb')).toBeNull();
  expect(screen.getByLabelText('c.ipynb')).toHaveProperty('checked', false);
});

test('a question that is answered with no ends nothing', async () => {
  const { model, ended } = draw([kernel()]);
  await model.refresh();
  await userEvent.click(await screen.findByLabelText('a.ipynb'));
  await userEvent.click(screen.getByTestId(TestId.ddpKernelsEnd));
  const dialog = await screen.findByRole('dialog', CLOSED);
  await userEvent.click(within(dialog).getByRole('button', { name: 'Cancel', ...CLOSED }));
  await waitFor(() => expect(screen.queryByRole('dialog', CLOSED)).toBeNull());
  expect(ended).toEqual([]);
});

test('a kernel that cannot be shut down is told, and the others are', async () => {
  const { model, ended, told } = draw([kernel(), kernel({ id: 'k2', label: 'b.ipynb' })], {
    end: id =>
      id === 'k1'
        ? Promise.reject(new ApiError('refused', 'It does not end.', 409))
        : Promise.resolve()
  });
  await model.refresh();
  model.choose('k1', true);
  model.choose('k2', true);
  await model.end();
  expect(ended).toEqual(['k2']);
  await screen.findByText(/It does not end/);
  expect([...model.state.chosen]).toEqual(['k1']);
  expect(told()).toBe(1);
});

test('of two answers the one to the later question counts', async () => {
  const slow = new Deferred<KernelsHeld>();
  const answers = [slow.promise, Promise.resolve(null as unknown as KernelsHeld)];
  const model = new KernelsModel({
    api: { ddpKernels: () => answers.shift() ?? Promise.reject(new Error()) },
    end: () => Promise.resolve(),
    ended: () => undefined
  });
  const first = model.refresh();
  await model.refresh();
  slow.resolve({ known: true, much: true, memory_limit_bytes: null, kernels: [kernel()] });
  await first;
  expect(model.state.held).toBeNull();
});
