// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { DiagnosisBox } from '../src/ddp/runPanel';
import { english } from './helpers';

afterEach(cleanup);

function draw(fix: string): () => number {
  let asked = 0;
  const diagnosis = { cause: 'No GPU.', fix, rank: 1, evidence: null };
  render(<DiagnosisBox diagnosis={diagnosis} examine={() => (asked += 1)} trans={english} />);
  return () => asked;
}

test('a failed run that names the doctor has a button that opens it', async () => {
  const asked = draw('Run the GPU doctor: it says why, and what to do.');
  await userEvent.click(screen.getByRole('button', { name: 'GPU doctor' }));
  expect(asked()).toBe(1);
});

test('another failure has none', () => {
  draw('Use a smaller batch.');
  expect(screen.getByRole('alert').textContent).toContain('Use a smaller batch.');
  expect(screen.queryByRole('button')).toBeNull();
});
