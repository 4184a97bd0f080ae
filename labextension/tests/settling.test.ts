import { expect, it } from 'vitest';

import { Settling } from '../src/reset/settling';

it('waits until a second after the last change, and not at all without one', () => {
  let now = 5_000;
  const settling = new Settling(() => now);
  expect(settling.left).toBe(0);
  settling.changed();
  expect(settling.left).toBe(1_000);
  now += 600;
  settling.changed();
  now += 600;
  expect(settling.left).toBe(400);
  now += 400;
  expect(settling.left).toBe(0);
});
