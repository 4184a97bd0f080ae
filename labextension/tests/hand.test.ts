// @vitest-environment jsdom
/**
 * Asking for help from JupyterLab: the dialog, and what comes of it.
 */
import './dom';

import { fireEvent, waitFor } from '@testing-library/dom';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { ApiError } from '../src/errors';
import { askForHelp } from '../src/lease/hand';
import { LeaseModel } from '../src/lease/model';
import type { LeaseView } from '../src/wire';
import { english, fakeApi } from './helpers';

let asked: string[];
let told: [string, boolean][];
let world: LeaseView;
let refusal: Error | null;

const answer = (change: Partial<LeaseView>): Promise<LeaseView> =>
  refusal ? Promise.reject(refusal) : Promise.resolve((world = { ...world, ...change }));

const model = async (): Promise<LeaseModel> => {
  const made = new LeaseModel(
    fakeApi({
      lease: () => Promise.resolve(world),
      raiseHand: text => {
        asked.push(`raise ${text}`);
        return answer({ hand: { raised_at: world.now, text } });
      },
      lowerHand: () => {
        asked.push('lower');
        return answer({ hand: null });
      }
    })
  );
  await made.ask();
  return made;
};

const ask = (lease: LeaseModel): Promise<void> =>
  askForHelp(lease, english, 'en', (text, isGood) => void told.push([text, isGood]));

const dialog = (): Promise<HTMLElement> =>
  waitFor(() => {
    const found = document.querySelector<HTMLElement>('.jp-Dialog');
    if (!found) {
      throw new Error('no dialog yet');
    }
    return found;
  });

const press = (within: HTMLElement, label: string): void => {
  const button = [...within.querySelectorAll('button')].find(one =>
    one.textContent.includes(label)
  );
  expect(button, label).toBeDefined();
  button?.click();
};

beforeEach(() => {
  [asked, told, refusal] = [[], [], null];
  world = {
    state: 'known',
    now: new Date().toISOString(),
    mine: true,
    lease: null,
    notices: [],
    warn_minutes: [],
    hand: null
  };
});

afterEach(() => {
  document.body.replaceChildren();
});

describe('asking for help', () => {
  test('says what is the matter, and then that it was heard', async () => {
    const lease = await model();
    const asking = ask(lease);
    const shown = await dialog();
    const input = shown.querySelector('input') ?? shown;
    fireEvent.input(input, { target: { value: 'torch does not see my GPU' } });
    press(shown, 'Raise hand');
    await asking;
    expect(asked).toEqual(['raise torch does not see my GPU']);
    expect(told).toEqual([['Your hand is up: your instructors see it.', true]]);
    expect(lease.state.view?.hand?.text).toBe('torch does not see my GPU');
    lease.dispose();
  });

  test('does nothing where it is cancelled', async () => {
    const lease = await model();
    const asking = ask(lease);
    press(await dialog(), 'Cancel');
    await asking;
    expect([asked, told]).toEqual([[], []]);
    lease.dispose();
  });

  test('offers to lower a hand that is up', async () => {
    world = { ...world, hand: { raised_at: world.now, text: '' } };
    const lease = await model();
    const asking = ask(lease);
    press(await dialog(), 'Lower hand');
    await asking;
    expect(asked).toEqual(['lower']);
    expect(told).toEqual([['The hand is down.', true]]);
    expect(lease.state.view?.hand).toBeNull();
    lease.dispose();
  });

  test('tells what went wrong', async () => {
    refusal = new ApiError('refused', 'That was often enough for now.', 429);
    const lease = await model();
    const asking = ask(lease);
    press(await dialog(), 'Raise hand');
    await asking;
    expect(told).toEqual([['That was often enough for now.', false]]);
    lease.dispose();
  });

  test.each([
    ['none', true],
    ['known', false]
  ] as const)('is for the own user of a server of a hub (%s, %s)', async (state, mine) => {
    world = { ...world, state, mine };
    const lease = await model();
    await ask(lease);
    expect(document.querySelector('.jp-Dialog')).toBeNull();
    expect(told[0]?.[1]).toBe(false);
    lease.dispose();
  });
});
