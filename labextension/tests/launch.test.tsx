// @vitest-environment jsdom
import './dom';

import { cleanup, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import * as React from 'react';
import { afterEach, expect, test } from 'vitest';

import type { IApi } from '../src/api';
import { KernelsModel } from '../src/ddp/kernelsModel';
import { LaunchModel } from '../src/ddp/launchModel';
import { Form } from '../src/ddp/launchPanel';
import { ApiError } from '../src/errors';
import { TestId } from '../src/testids';
import type { LaunchRequest, NotebookScript } from '../src/wire';
import { Browser, Deferred, english, fakeApi } from './helpers';

afterEach(cleanup);

function draw(known: Partial<IApi> = {}): { model: LaunchModel; asked: LaunchRequest[] } {
  const asked: LaunchRequest[] = [];
  const model = new LaunchModel({
    api: fakeApi({
      ddpPlan: request => {
        asked.push(request);
        return Promise.resolve({ command: 'torchrun x', warnings: [] });
      },
      ...known
    }),
    scripts: () => Promise.resolve([]),
    quiet: 1
  });
  const beside = {
    kernels: new KernelsModel({
      api: fakeApi({}),
      end: () => Promise.resolve(),
      ended: () => undefined
    }),
    browser: new Browser('denied')
  };
  model.edit({ script: 'a.py', processes: '2' });
  const Drawn = (): React.ReactElement => {
    const [, again] = React.useReducer((count: number) => count + 1, 0);
    React.useEffect(() => {
      model.stateChanged.connect(again);
      return () => void model.stateChanged.disconnect(again);
    }, []);
    return <Form model={model} trans={english} openRun={() => undefined} beside={beside} />;
  };
  render(<Drawn />);
  return { model, asked };
}

const made = (more: Partial<NotebookScript>): NotebookScript => ({
  script: 'a.py',
  written: true,
  left_out: [],
  obstacles: [],
  ...more
});
const remark = { cell: 3, line: 2, code: '!wget <b>x</b>', message: 'It would run in each.' };

test('the choices that few need are folded away, and count', async () => {
  const { asked } = draw();
  const more = screen.getByTestId(TestId.ddpMore);
  expect(more.closest('details')?.open).toBe(false);
  await userEvent.click(more);
  await userEvent.type(screen.getByLabelText('Variables'), 'SEED=1');
  await userEvent.selectOptions(screen.getByLabelText(/NCCL_DEBUG/), 'INFO');
  await userEvent.type(screen.getByLabelText('Restarts after a failure'), '1');
  await userEvent.type(screen.getByLabelText('Ranks in the log'), '1');
  expect(more.textContent).toContain('4 made');
  await waitFor(() =>
    expect(asked.at(-1)).toEqual({
      script: 'a.py',
      arguments: [],
      processes: 2,
      environment: { SEED: '1', NCCL_DEBUG: 'INFO' },
      max_restarts: 1,
      local_ranks_filter: [1]
    })
  );
});

test('what is wrong in the folded part unfolds it and says so', async () => {
  const { model } = draw();
  model.edit({ restarts: '99' });
  await waitFor(() => expect(screen.getByRole('alert').textContent).toContain('from 0 to 10'));
  const field = screen.getByLabelText('Restarts after a failure');
  expect(field.getAttribute('aria-invalid')).toBe('true');
  expect(field.closest('details')?.open).toBe(true);
  expect(screen.getByTestId(TestId.ddpLaunch)).toHaveProperty('disabled', true);
});

test('a module is chosen instead of a script', async () => {
  const { asked } = draw();
  await userEvent.click(screen.getByTestId(TestId.ddpModule));
  const field = screen.getByRole('textbox', { name: 'Module' });
  await userEvent.clear(field);
  await userEvent.type(field, 'pack.train');
  await waitFor(() => expect(asked.at(-1)).toMatchObject({ module: 'pack.train' }));
  expect(asked.at(-1)).not.toHaveProperty('script');
});

test('a notebook becomes a script; what was left out can be read', async () => {
  const answer = new Deferred<NotebookScript>();
  const asked: string[] = [];
  draw({
    ddpNotebook: notebook => {
      asked.push(notebook);
      return answer.promise;
    }
  });
  const field = screen.getByTestId(TestId.ddpScript);
  await userEvent.clear(field);
  await userEvent.type(field, 'x/a.ipynb');
  await userEvent.click(screen.getByRole('button', { name: 'Make a script of it' }));
  expect(screen.getByTestId(TestId.ddpNotebook).textContent).toContain('Making a script of');
  answer.resolve(made({ script: 'x/a.py', left_out: [remark] }));
  await waitFor(() => expect(field).toHaveProperty('value', 'x/a.py'));
  const part = screen.getByTestId(TestId.ddpNotebook);
  expect(part.textContent).toContain('1 line was left out');
  expect(part.querySelector('b')).toBeNull();
  expect(asked).toEqual(['x/a.ipynb']);
});

test('obstacles are named with their places, and nothing can be launched', async () => {
  const { model } = draw({
    ddpNotebook: () => Promise.resolve(made({ script: null, obstacles: [remark] }))
  });
  await model.useNotebook('a.ipynb');
  const part = await screen.findByTestId(TestId.ddpNotebook);
  await waitFor(() => expect(part.textContent).toContain('these lines are in the way'));
  expect(within(part).getByRole('listitem').textContent).toContain('Cell 3, line 2');
  expect(screen.getByTestId(TestId.ddpLaunch)).toHaveProperty('disabled', true);
});

test('an error can be tried again, and another choice forgets it', async () => {
  let fails = true;
  const { model } = draw({
    ddpNotebook: () =>
      fails
        ? Promise.reject(new ApiError('refused', 'The script cannot be written.', 409))
        : Promise.resolve(made({ script: 'b.py', written: false }))
  });
  await model.useNotebook('b.ipynb');
  await screen.findByText(/cannot be written/);
  fails = false;
  await userEvent.click(screen.getByRole('button', { name: 'Try again' }));
  await screen.findByText(/has not changed since/);
  model.edit({ script: 'c.py' });
  await waitFor(() => expect(screen.queryByTestId(TestId.ddpNotebook)).toBeNull());
});

test('of two notebooks the last one that was asked for counts', async () => {
  const slow = new Deferred<NotebookScript>();
  const { model } = draw({
    ddpNotebook: path =>
      path === 'a.ipynb' ? slow.promise : Promise.resolve(made({ script: 'b.py' }))
  });
  const first = model.useNotebook('a.ipynb');
  await model.useNotebook('b.ipynb');
  slow.resolve(made({ script: 'a.py' }));
  await first;
  expect(model.state.form.script).toBe('b.py');
  expect(model.state.notebook?.path).toBe('b.ipynb');
});

const DIFF = '--- a.py\n+++ a_ddp.py\n@@ -1 +1 @@\n-x = <b>1</b>\n+import os\n';
const plain = {
  ddpPlan: () =>
    Promise.resolve({
      command: 'torchrun a.py',
      warnings: [{ code: 'no-process-group', message: 'every process would train alone' }]
    })
};

test('a plain script is made DDP: shown as a diff, written when accepted', async () => {
  const accepted: string[][] = [];
  const { model } = draw({
    ...plain,
    ddpProposal: () =>
      Promise.resolve({
        digest: 'd1',
        diff: DIFF,
        changes: [{ line: 3, message: 'wraps model' }],
        remarks: [{ line: 0, message: 'Look at the batch size.' }],
        reasons: []
      }),
    ddpAccept: (...words) => {
      accepted.push(words);
      return Promise.resolve({ script: 'a_ddp.py' });
    }
  });
  await userEvent.click(await screen.findByTestId(TestId.ddpMakeDdp));
  const part = await screen.findByTestId(TestId.ddpProposal);
  await waitFor(() => expect(part.textContent).toContain('Line 3: wraps model'));
  expect(part.querySelector('b')).toBeNull();
  expect(part.querySelector('.gpucamp-Diff-added')?.textContent).toContain('+++');
  await userEvent.click(screen.getByTestId(TestId.ddpAccept));
  await waitFor(() => expect(part.textContent).toContain('a_ddp.py was written from a.py.'));
  expect(part.textContent).toContain('Look at the batch size.');
  expect(accepted).toEqual([['a.py', 'd1']]);
  expect(model.state.form.script).toBe('a_ddp.py');
  await userEvent.click(within(part).getByRole('button', { name: 'Close' }));
  expect(screen.queryByTestId(TestId.ddpProposal)).toBeNull();
});

test('where it cannot be made DDP the reasons are told; a change meanwhile is, too', async () => {
  const { model } = draw({
    ...plain,
    ddpProposal: script =>
      Promise.resolve({
        digest: script === 'a.py' ? null : 'd',
        diff: '',
        changes: [],
        remarks: [],
        reasons: script === 'a.py' ? [{ line: 0, message: 'Nothing trains.' }] : []
      }),
    ddpAccept: () => Promise.reject(new ApiError('refused', 'It has changed meanwhile.', 409))
  });
  await model.askProposal();
  await screen.findByText('Nothing trains.');
  expect(screen.queryByTestId(TestId.ddpAccept)).toBeNull();
  model.edit({ script: 'b.py' });
  await model.askProposal();
  await userEvent.click(await screen.findByTestId(TestId.ddpAccept));
  await screen.findByText(/changed meanwhile/);
  expect(model.state.form.script).toBe('b.py');
});
