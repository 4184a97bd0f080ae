// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen } from '@testing-library/react';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import { Remarks } from '../src/ddp/runPanel';
import { TestId } from '../src/testids';
import type { Run } from '../src/wire';
import { english } from './helpers';

afterEach(cleanup);

const RUN: Run = {
  id: '7',
  script: 'a.py',
  command: 'torchrun a.py',
  processes: 2,
  state: 'succeeded',
  started_at: null,
  ended_at: null,
  exit_code: 0,
  diagnosis: null
};

test('a run that ended well shows what its libraries warned about', () => {
  const remarks = [{ code: 'not-destroyed', message: 'Call destroy_process_group().' }];
  render(<Remarks run={{ ...RUN, remarks }} trans={english} />);
  expect(screen.getByTestId(TestId.ddpRemarks).textContent).toBe('!Call destroy_process_group().');
});

test.each([[undefined], [[]]])('without remarks (%j) there is no list', remarks => {
  render(<Remarks run={{ ...RUN, remarks }} trans={english} />);
  expect(screen.queryByTestId(TestId.ddpRemarks)).toBeNull();
});
