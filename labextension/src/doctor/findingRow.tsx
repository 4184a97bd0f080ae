import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Command } from '../components';
import { findingTestId } from '../testids';
import type { Finding } from '../wire';
import { evidenceLines, safeLink, severityMark, severityText, whoText } from './examination';
import { RepairButton } from './repairPart';

/**
 * A finding in a line with its fix; it unfolds to the command, what was seen, and the page of its code.
 *
 * Guarantees: whatever a finding says is text, and a link leads only to a page.
 */
export function FindingRow(props: {
  finding: Finding;
  old: boolean;
  isCurrent?: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { finding, old, trans } = props;
  const evidence = evidenceLines(finding.evidence);
  const docs = safeLink(finding.docs_url);
  return (
    <li
      className={`gpucamp-Finding ${old ? 'gpucamp-mod-old' : ''}`}
      data-testid={findingTestId(finding.code)}
      data-severity={finding.severity}
    >
      <details onKeyDown={foldAtEscape}>
        <summary>
          <span className={`gpucamp-Mark gpucamp-mod-${finding.severity}`} aria-hidden="true">
            {severityMark(finding.severity)}
          </span>
          <span className="gpucamp-Finding-text">
            <h3 className="gpucamp-Finding-title">
              <span className={`gpucamp-Severity gpucamp-mod-${finding.severity}`}>
                {severityText(finding.severity, trans)}
              </span>{' '}
              {finding.title}
              {old && (
                <>
                  {' '}
                  <span className="gpucamp-Badge">{trans.__('from the last report')}</span>
                </>
              )}
            </h3>
            <span className="gpucamp-Finding-fix">
              <b>{trans.__('Fix:')}</b> {finding.fix}{' '}
              {/* Advice is for whoever reads it, and may be that there is nothing to do. */}
              {(finding.severity !== 'advice' || finding.who !== 'you') && (
                <span className="gpucamp-Badge">{whoText(finding, trans)}</span>
              )}
            </span>
          </span>
        </summary>
        <div className="gpucamp-Finding-details">
          {finding.command && (
            <Command
              command={finding.command}
              copyName={trans.__('Copy the command of %1', finding.code)}
              trans={trans}
            />
          )}
          {evidence.length > 0 && (
            <>
              <h4>{trans.__('What was seen')}</h4>
              <pre role="group" tabIndex={0} aria-label={trans.__('What was seen')}>
                {evidence.join('\n')}
              </pre>
            </>
          )}
          <p className="gpucamp-Muted">
            {docs ? (
              <a href={docs} target="_blank" rel="noopener noreferrer">
                {trans.__('What %1 means', finding.code)}
              </a>
            ) : (
              finding.code
            )}
          </p>
        </div>
      </details>
      <RepairButton finding={finding} isCurrent={props.isCurrent ?? false} trans={trans} />
    </li>
  );
}

/** The way out of the details by keyboard: it folds them and leads back to their line. */
function foldAtEscape(event: React.KeyboardEvent<HTMLDetailsElement>): void {
  const details = event.currentTarget;
  if (event.key === 'Escape' && details.open) {
    event.stopPropagation();
    details.open = false;
    details.querySelector('summary')?.focus();
  }
}
