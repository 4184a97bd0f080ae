import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button } from '../components';
import { bytesText } from '../statusText';
import { TestId } from '../testids';
import type { ResetModel } from './model';

/** What a person keeps in the home outside the work folder, and whether it is moved; nothing where there is none. */
export function FilesPart(props: {
  model: ResetModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { preview, left } = model.state;
  const outside = preview?.outside;
  if (!outside || outside.files.length === 0) {
    return null;
  }
  const paths = outside.files.map(file => file.path);
  return (
    <section aria-labelledby="gpucamp-reset-files" data-testid={TestId.resetFiles}>
      <h2 id="gpucamp-reset-files">{trans.__('Files outside your work folder')}</h2>
      <div className="gpucamp-Actions">
        <span>{trans.__('Move them to work/from-home first:')}</span>
        <Button kind="quiet" onClick={() => model.move(paths, true)}>
          {trans.__('All')}
        </Button>
        <Button kind="quiet" onClick={() => model.move(paths, false)}>
          {trans.__('None')}
        </Button>
      </div>
      <ul className="gpucamp-Reset-list" tabIndex={0} aria-labelledby="gpucamp-reset-files">
        {outside.files.map(file => (
          <li key={file.path}>
            <label>
              <input
                type="checkbox"
                checked={!left.has(file.path)}
                aria-label={trans.__('Move %1', file.path)}
                onChange={event => model.move([file.path], event.target.checked)}
              />
              <span>{file.folder ? `${file.path}/` : file.path}</span>
              <span className="gpucamp-Reset-size">
                {file.bytes === null ? '' : bytesText(file.bytes)}
              </span>
            </label>
          </li>
        ))}
      </ul>
      {outside.more > 0 && (
        <p role="note">
          {trans._n(
            '%1 more is not listed and goes: move it yourself if you need it.',
            '%1 more are not listed and go: move them yourself if you need them.',
            outside.more
          )}
        </p>
      )}
    </section>
  );
}
