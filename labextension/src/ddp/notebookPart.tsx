import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { NotebookRemark } from '../wire';
import type { LaunchModel } from './launchModel';

/** A notebook in the script's place: the way to a script, what came of it, and what is in the way. */
export function NotebookPart(props: {
  model: LaunchModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { notebook, problem, form } = model.state;
  const path = form.script.trim();
  if (!notebook) {
    return problem?.reason === 'notebook' ? (
      <div className="gpucamp-Notebook" data-testid={TestId.ddpNotebook}>
        <p>{trans.__('Every process needs a script; a notebook can become one.')}</p>
        <Button kind="accept" onClick={() => void model.useNotebook(path)}>
          {trans.__('Make a script of it')}
        </Button>
      </div>
    ) : null;
  }
  const { made, error } = notebook;
  if (error !== null) {
    return (
      <ErrorBox error={error} trans={trans} retry={() => void model.useNotebook(notebook.path)} />
    );
  }
  return (
    <div className="gpucamp-Notebook" data-testid={TestId.ddpNotebook} role="status">
      {made === null && <p>{trans.__('Making a script of %1…', notebook.path)}</p>}
      {made?.script && (
        <p>
          {made.written
            ? trans.__('Made of %1. After a change of the notebook, make it again.', notebook.path)
            : trans.__('Made of %1 before; the notebook has not changed since.', notebook.path)}
        </p>
      )}
      {made && made.left_out.length > 0 && (
        <details>
          <summary>
            {trans._n('%1 line was left out', '%1 lines were left out', made.left_out.length)}
          </summary>
          <Remarks remarks={made.left_out} trans={trans} />
        </details>
      )}
      {made && made.obstacles.length > 0 && (
        <>
          <p className="gpucamp-Field-problem">
            {`✗ ${trans.__('No script was made of %1: these lines are in the way.', notebook.path)}`}
          </p>
          <Remarks remarks={made.obstacles} trans={trans} />
        </>
      )}
      {made && (
        <Button kind="quiet" onClick={() => void model.useNotebook(notebook.path)}>
          {trans.__('Make it again')}
        </Button>
      )}
    </div>
  );
}

function Remarks(props: {
  remarks: NotebookRemark[];
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <ul>
      {props.remarks.map(({ cell, line, code, message }) => (
        <li key={`${cell}:${line}:${code}`}>
          <span className="gpucamp-Muted">{props.trans.__('Cell %1, line %2', cell, line)}</span>{' '}
          <code>{code}</code>
          <br />
          {message}
        </li>
      ))}
    </ul>
  );
}
