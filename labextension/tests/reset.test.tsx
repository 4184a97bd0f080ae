// @vitest-environment jsdom
/**
 * The dialogs of a reset and its undo: what they show, what can be chosen, and by which keys.
 */
import './dom';

import { act, cleanup, fireEvent, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { Dialog } from '@jupyterlab/apputils';
import { MessageLoop } from '@lumino/messaging';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ApiError } from '../src/errors';
import type { ResetChoice } from '../src/reset/choices';
import { askReset } from '../src/reset/dialog';
import type { Agreed } from '../src/reset/model';
import { keepPlace, takePlace } from '../src/reset/returning';
import {
  filtered,
  leftText,
  packagesText,
  packageText,
  progressAddress
} from '../src/reset/summary';
import { askUndo, type AgreedUndo } from '../src/reset/undoDialog';
import type { ChangedPackage, ResetPreview } from '../src/wire';
import { Deferred, english } from './helpers';

const MIB = 2 ** 20;

const PREVIEW: ResetPreview = {
  generation: 3,
  can_undo: true,
  undo: [],
  changed_packages: [
    { name: 'torch', base: '2.9.1', environment: '2.10.0', bytes: 900 * MIB, again: true },
    { name: 'six', base: null, environment: '1.16', bytes: 60 * 1024, again: true },
    { name: 'mine', base: null, environment: '1', bytes: null, again: false },
    { name: 'pandas', base: '2.3', environment: null, bytes: null, again: false }
  ],
  running_runs: 0,
  kernels: 2,
  outside: {
    files: [
      { path: 'results', bytes: 3 * MIB, folder: true },
      { path: 'note.txt', bytes: 5, folder: false }
    ],
    bytes: 3 * MIB + 5,
    more: 0
  },
  environment_bytes: 10 * MIB
};

let listing: Deferred<ResetPreview>;
let asked: number;
let answered: Agreed | AgreedUndo | null | undefined;

const api = {
  resetPreview: () => {
    asked += 1;
    return listing.promise;
  }
};

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) {
    await new Promise(resolve => setTimeout(resolve, 0));
    MessageLoop.flush();
  }
}

async function open(choice: ResetChoice = 'new'): Promise<void> {
  await act(async () => {
    void askReset(api, english, choice).then(
      agreed => {
        answered = agreed;
      },
      () => undefined // flushed at the end of a test
    );
    await settle();
  });
}

async function opened(change: Partial<ResetPreview> = {}, choice: ResetChoice = 'new') {
  listing.resolve({ ...PREVIEW, ...change });
  await open(choice);
}

const dialog = (): HTMLElement => screen.getByTestId('gpucamp-reset-dialog');
const confirm = (): HTMLButtonElement => screen.getByTestId('gpucamp-reset-confirm');
const choice = (name: ResetChoice): HTMLInputElement =>
  screen.getByTestId(`gpucamp-reset-choice-${name}`);
const box = (name: string): HTMLInputElement =>
  within(dialog()).getByRole('checkbox', { name, hidden: true });
const press = async (keys: string): Promise<void> => {
  await userEvent.keyboard(keys);
  await act(settle);
};
const click = async (element: HTMLElement): Promise<void> => {
  await userEvent.click(element);
  await act(settle);
};
const button = (name: string, at = 0): HTMLElement => {
  const found = within(dialog()).getAllByRole('button', { name, hidden: true })[at];
  if (!found) {
    throw new Error(`There is no button ${name} at ${at}`);
  }
  return found;
};

beforeEach(() => {
  listing = new Deferred();
  [asked, answered] = [0, undefined];
});

afterEach(() => {
  Dialog.flush();
  MessageLoop.flush();
  cleanup();
});

describe('the dialog', () => {
  test('offers three choices, the mildest first, and says of each what goes and what stays', async () => {
    await opened({}, 'kernels');
    const radios = within(dialog()).getAllByRole('radio', { hidden: true });
    expect(radios.map(one => one.getAttribute('aria-label'))).toEqual([
      'Restart kernels',
      'Remove what I installed',
      'New environment'
    ]);
    for (const radio of radios) {
      const about = document.getElementById(radio.getAttribute('aria-describedby') ?? '');
      expect(about?.textContent).toMatch(/^Goes: .* Stays: /);
    }
    expect(choice('kernels').checked).toBe(true);
    expect(document.activeElement).toBe(choice('kernels'));
    expect(confirm().textContent).toBe('Save all and restart kernels');
    expect(dialog().textContent).toContain('2 kernels are running');
    await click(confirm());
    expect(answered).toEqual({ choice: 'kernels', again: [], moves: [], runs: 0 });
  });

  test('the arrow keys choose, and the button says what it does', async () => {
    await opened({}, 'kernels');
    await press('{ArrowDown}');
    expect(choice('packages').checked).toBe(true);
    expect(confirm().textContent).toBe('Save all and remove');
    expect(within(dialog()).queryAllByRole('checkbox', { hidden: true })).toEqual([]);
    expect(dialog().textContent).toContain('torch 2.10.0 instead of 2.9.1');
    await press('{ArrowDown}');
    expect(choice('new').checked).toBe(true);
    expect(document.activeElement).toBe(choice('new'));
    expect(confirm().textContent).toBe('Save all and reset');
  });

  test('Enter does nothing that cannot be taken back, Escape closes', async () => {
    await opened();
    await press('{Enter}');
    expect(answered).toBeUndefined();
    expect(dialog()).toBeTruthy();
    await press('{Escape}');
    expect(answered).toBeNull();
    expect(screen.queryByTestId('gpucamp-reset-dialog')).toBeNull();
  });

  test('lists the packages with their sizes; none is installed again unless chosen', async () => {
    await opened();
    const part = screen.getByTestId('gpucamp-reset-packages');
    expect(within(part).getByRole('heading', { hidden: true }).textContent).toBe(
      '4 packages that you installed, changed or removed (900 MiB)'
    );
    expect([...part.querySelectorAll('li')].map(one => one.textContent)).toEqual([
      'torch 2.10.0 instead of 2.9.1900 MiB',
      'six 1.16, added60 KiB',
      'mine 1, added',
      'pandas, removed'
    ]);
    expect(box('Install torch again').checked).toBe(false);
    expect(
      within(part).queryByRole('checkbox', { name: 'Install mine again', hidden: true })
    ).toBeNull();
    await click(box('Install six again'));
    await click(confirm());
    expect(answered).toEqual({
      choice: 'new',
      again: ['six'],
      moves: ['results', 'note.txt'],
      runs: 0
    });
  });

  test('all and none', async () => {
    await opened();
    await click(button('All', 0));
    expect(dialog().textContent).toContain('Install again: 2 chosen');
    await click(button('None', 0));
    expect(dialog().textContent).toContain('Install again: 0 chosen');
    await click(button('None', 1));
    expect(box('Move results').checked).toBe(false);
    await click(confirm());
    expect(answered).toMatchObject({ again: [], moves: [] });
  });

  test('many packages can be filtered; all means all that are shown', async () => {
    const many = Array.from({ length: 40 }, (_, at): ChangedPackage => {
      const name = at % 10 === 0 ? `torch-extra-${at}` : `package-${at}`;
      return { name, base: null, environment: '1', bytes: 1, again: true };
    });
    await opened({ changed_packages: many });
    const filter = within(dialog()).getByRole('searchbox', { hidden: true });
    await click(filter);
    await press('TORCH');
    expect(screen.getByTestId('gpucamp-reset-packages').querySelectorAll('li').length).toBe(4);
    await press('{Enter}');
    expect(answered).toBeUndefined(); // Enter in a field does not close the dialog
    await click(button('All', 0));
    await click(filter);
    await press('xyz');
    expect(dialog().textContent).toContain('None has this in its name.');
    await click(confirm());
    expect(answered).toMatchObject({
      again: ['torch-extra-0', 'torch-extra-10', 'torch-extra-20', 'torch-extra-30']
    });
  });

  test('files outside the work folder are moved unless that is declined', async () => {
    await opened({ outside: { ...PREVIEW.outside, more: 2 } });
    const part = screen.getByTestId('gpucamp-reset-files');
    expect(part.textContent).toContain('results/3 MiB');
    expect(part.textContent).toContain('2 more are not listed and go');
    expect(box('Move results').checked).toBe(true);
    await click(box('Move note.txt'));
    await click(confirm());
    expect(answered).toMatchObject({ moves: ['results'] });
  });

  test('nothing outside the work folder, nothing about it', async () => {
    await opened({ outside: { files: [], bytes: 0, more: 0 } });
    expect(screen.queryByTestId('gpucamp-reset-files')).toBeNull();
  });

  test('runs that go on are ended only where that was said', async () => {
    await opened({ running_runs: 2 });
    expect(confirm().disabled).toBe(true);
    fireEvent.input(choice('new')); // JupyterLab's dialogs enable their buttons then
    expect(confirm().disabled).toBe(true);
    await click(choice('kernels'));
    expect(confirm().disabled).toBe(false);
    await click(choice('packages'));
    expect(confirm().disabled).toBe(false);
    expect(dialog().textContent).toContain('may fail without them');
    await click(choice('new'));
    await click(box('Yes, end the 2 DDP runs that go on'));
    expect(confirm().disabled).toBe(false);
    await click(confirm());
    expect(answered).toMatchObject({ choice: 'new', runs: 2 });
  });

  test('what is chosen for a new environment means nothing for another choice', async () => {
    await opened();
    await click(box('Install six again'));
    await click(choice('packages'));
    await click(confirm());
    expect(answered).toEqual({ choice: 'packages', again: [], moves: [], runs: 0 });
  });

  test('nothing is agreed to before it is known what goes', async () => {
    await open();
    expect(confirm().disabled).toBe(true);
    expect(within(dialog()).getByRole('status', { hidden: true }).textContent).toBe(
      'Looking at your environment…'
    );
    await act(async () => {
      listing.resolve(PREVIEW);
      await settle();
    });
    expect(confirm().disabled).toBe(false);
    expect(dialog().textContent).toContain('is kept for two more resets');
  });

  test('a listing that fails is told, can be asked for again, and keeps nobody from a reset', async () => {
    listing.reject(new ApiError('unavailable', 'The service is away.', 503));
    await open();
    const alert = within(dialog()).getByRole('alert', { hidden: true });
    expect(alert.textContent).toContain('The service is away.');
    expect(confirm().disabled).toBe(false);
    listing = new Deferred();
    await click(button('Try again'));
    expect(asked).toBe(2);
    expect(confirm().disabled).toBe(true);
    await act(async () => {
      listing.reject(new ApiError('network', ''));
      await settle();
    });
    await click(confirm());
    expect(answered).toEqual({ choice: 'new', again: [], moves: [], runs: 0 });
  });

  test('whom the server does not belong to can do nothing', async () => {
    listing.reject(new ApiError('signed-out', 'Only ada may reset it.', 403));
    await open('kernels');
    expect(within(dialog()).getByRole('alert', { hidden: true }).textContent).toContain('Only ada');
    expect(confirm().disabled).toBe(true);
    await click(choice('new'));
    expect(confirm().disabled).toBe(true);
  });
});

describe('undo', () => {
  const LEFT = [
    { generation: 2, left_at: '2026-01-31T10:00:00Z', expires: null },
    { generation: 1, left_at: '2026-01-30T10:00:00Z', expires: 'Kept until the next reset.' }
  ];
  const undo = (): HTMLElement => screen.getByTestId('gpucamp-undo-dialog');

  async function openUndo(change: Partial<ResetPreview>): Promise<void> {
    await act(async () => {
      void askUndo({ ...PREVIEW, ...change }, english, 'en').then(
        agreed => {
          answered = agreed;
        },
        () => undefined // flushed at the end of a test
      );
      await settle();
    });
  }
  const answer = async (): Promise<void> =>
    click(within(undo()).getByRole('button', { name: 'Save all and undo', hidden: true }));

  test('one of two environments', async () => {
    await openUndo({ undo: LEFT, running_runs: 1 });
    expect(undo().textContent).toContain('1 DDP run that goes on is ended.');
    expect(undo().textContent).toContain('Kept until the next reset.');
    const radios = within(undo()).getAllByRole<HTMLInputElement>('radio', { hidden: true });
    expect(radios.map(one => one.checked)).toEqual([true, false]);
    expect(document.activeElement).toBe(radios[0]);
    await press('{Enter}');
    expect(answered).toBeUndefined();
    await press('{ArrowDown}');
    await answer();
    expect(answered).toEqual({ generation: 1, runs: 1 });
  });

  test('the only one is named, and nothing is to be chosen', async () => {
    await openUndo({ undo: LEFT.slice(0, 1) });
    expect(within(undo()).queryByRole('radio', { hidden: true })).toBeNull();
    expect(undo().textContent).toContain('Environment 2, in use until');
    await press('{Enter}'); // "Cancel" has the focus
    expect(answered).toBeNull();
  });

  test('a service that does not list them gives the last', async () => {
    await openUndo({ undo: [] });
    await answer();
    expect(answered).toEqual({ generation: null, runs: 0 });
  });

  test('when it was left and until when it is kept, in any form', () => {
    const text = (left_at: number | string | null, expires: number | string | null) =>
      leftText({ generation: 4, left_at, expires }, Date.parse('2026-02-01'), 'en', english);
    expect(text(null, null)).toEqual({ name: 'Environment 4', kept: '' });
    expect(text('2026-01-31T10:00:00Z', '2026-02-07T10:00:00Z').kept).toMatch(/^Kept until .*7/);
    expect(text(0, 'in the words of the service').kept).toBe('in the words of the service');
  });
});

describe('texts', () => {
  test('how each package differs', () => {
    expect(PREVIEW.changed_packages.map(one => packageText(one, english))).toEqual([
      'torch 2.10.0 instead of 2.9.1',
      'six 1.16, added',
      'mine 1, added',
      'pandas, removed'
    ]);
    const names = filtered([...PREVIEW.changed_packages].reverse(), '').map(one => one.name);
    expect(names).toEqual(['mine', 'six', 'torch', 'pandas']);
    expect(packagesText([], english)).toBe('No packages: yours are those of the image');
  });

  test('leads only to an address that a browser should open', () => {
    const here = 'https://hub.example/user/ada/lab';
    expect(progressAddress('/services/gpucamp/operations/1', here)).toBe(
      'https://hub.example/services/gpucamp/operations/1'
    );
    expect(progressAddress('javascript:alert(1)', here)).toBeNull();
    expect(progressAddress('http://[', here)).toBeNull();
  });
});

describe('the way back', () => {
  const BASE = '/user/ada/';
  const take = (): string | null => takePlace(sessionStorage, BASE, '/user/ada/lab');

  test('is to the workspace that one was in, once', () => {
    keepPlace(sessionStorage, BASE, '/user/ada/lab/workspaces/auto-B/tree/a.ipynb');
    expect(take()).toBe('/user/ada/lab/workspaces/auto-B');
    expect(take()).toBeNull();
  });

  test.each([
    '/user/ada/lab',
    '/user/ada/lab/tree/a.ipynb',
    '/user/lin/lab/workspaces/auto-B',
    '/user/ada/lab/workspaces/',
    '//elsewhere.example/user/ada/lab/workspaces/a'
  ])('is not away from %s', path => {
    keepPlace(sessionStorage, BASE, path);
    expect(take()).toBeNull();
  });

  test('is not taken where there is none, or where it is', () => {
    sessionStorage.setItem('gpucamp:place:/user/ada/', '{"path": 1');
    expect(take()).toBeNull();
    expect(takePlace(null, BASE, '/user/ada/lab')).toBeNull();
    keepPlace(sessionStorage, BASE, '/user/ada/lab/workspaces/x');
    expect(takePlace(sessionStorage, BASE, '/user/ada/lab/workspaces/x')).toBeNull();
  });
});
