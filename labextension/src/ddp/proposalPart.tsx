import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, ErrorBox } from '../components';
import { TestId } from '../testids';
import type { ScriptNote } from '../wire';
import type { LaunchModel } from './launchModel';

/** "Make it DDP": what would be changed in a plain script, to be written beside it or not. */
export function ProposalPart(props: {
  model: LaunchModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { proposal: view, plan } = model.state;
  if (!view) {
    // the server's own advice says that this is a plain script
    const isPlain = plan?.warnings.some(warning => warning.code === 'no-process-group');
    return isPlain ? (
      <div className="gpucamp-Actions">
        <Button onClick={() => void model.askProposal()} testId={TestId.ddpMakeDdp}>
          {trans.__('Make it DDP…')}
        </Button>
      </div>
    ) : null;
  }
  const { script, proposal, accepting, written, error } = view;
  return (
    <section className="gpucamp-Proposal" data-testid={TestId.ddpProposal}>
      {error !== null && (
        <ErrorBox error={error} trans={trans} retry={() => void model.askProposal()} />
      )}
      <div role="status">
        {error === null && proposal === null && <p>{trans.__('Looking at %1…', script)}</p>}
        {written !== null && <p>{trans.__('%1 was written from %2.', written, script)}</p>}
        {proposal !== null && proposal.reasons.length > 0 && (
          <>
            <p>{trans.__('%1 cannot be made DDP by this: ', script)}</p>
            <Notes notes={proposal.reasons} trans={trans} />
          </>
        )}
      </div>
      {proposal?.digest && (
        <>
          {written === null && (
            <>
              <h2>{trans.__('What would be changed in %1', script)}</h2>
              <Notes notes={proposal.changes} trans={trans} />
              <details open>
                <summary>{trans.__('The diff')}</summary>
                <Diff text={proposal.diff} />
              </details>
            </>
          )}
          {proposal.remarks.length > 0 && (
            <>
              <h3>{trans.__('Please check')}</h3>
              <Notes notes={proposal.remarks} trans={trans} />
            </>
          )}
        </>
      )}
      <div className="gpucamp-Actions">
        {proposal?.digest && written === null && (
          <Button
            kind="accept"
            disabled={accepting}
            onClick={() => void model.acceptProposal()}
            testId={TestId.ddpAccept}
          >
            {accepting ? trans.__('Writing…') : trans.__('Write it beside the script')}
          </Button>
        )}
        <Button kind="quiet" onClick={() => model.dropProposal()}>
          {proposal?.digest && written === null ? trans.__('Not now') : trans.__('Close')}
        </Button>
      </div>
      {proposal?.digest && written === null && (
        <p className="gpucamp-Muted">{trans.__('The original stays as it is.')}</p>
      )}
    </section>
  );
}

function Notes(props: { notes: ScriptNote[]; trans: TranslationBundle }): React.ReactElement {
  return (
    <ul>
      {props.notes.map(({ line, message }) => (
        <li key={`${line}:${message}`}>
          {line > 0 && (
            <span className="gpucamp-Muted">{`${props.trans.__('Line %1', line)}: `}</span>
          )}
          {message}
        </li>
      ))}
    </ul>
  );
}

/** A unified diff; the signs say what the colours do. */
function Diff(props: { text: string }): React.ReactElement {
  return (
    <pre className="gpucamp-Diff" tabIndex={0}>
      {props.text.split('\n').map((line, at) => (
        <span key={at} className={classOf(line)}>
          {`${line}\n`}
        </span>
      ))}
    </pre>
  );
}

function classOf(line: string): string | undefined {
  if (line.startsWith('+')) {
    return 'gpucamp-Diff-added';
  }
  return line.startsWith('-') ? 'gpucamp-Diff-removed' : undefined;
}
