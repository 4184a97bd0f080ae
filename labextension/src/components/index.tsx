/**
 * Small parts that the panels share.
 */
import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { describeError } from '../errors';

/**
 * A button of JupyterLab's look; `kind` says how much it asks for attention: accept is what one came for, plain is also
 * offered, quiet is at hand.
 */
export function Button(
  props: React.ButtonHTMLAttributes<HTMLButtonElement> & {
    kind?: 'plain' | 'accept' | 'warn' | 'quiet';
    testId?: string;
  }
): React.ReactElement {
  const { kind = 'plain', testId, className, children, ...rest } = props;
  const styles = {
    plain: 'jp-mod-styled gpucamp-Button-plain',
    accept: 'jp-mod-styled jp-mod-accept',
    warn: 'jp-mod-styled jp-mod-warn',
    quiet: 'gpucamp-Button-quiet'
  };
  return (
    <button
      type="button"
      className={`gpucamp-Button ${styles[kind]} ${className ?? ''}`}
      data-testid={testId}
      {...rest}
    >
      {children}
    </button>
  );
}

/**
 * Copies `text()` and says so on the button for two seconds, and aloud.
 *
 * @param name - for those who do not see what it is beside; begins with the label
 */
export function CopyButton(props: {
  label: string;
  name?: string;
  text: () => string;
  trans: TranslationBundle;
  disabled?: boolean;
}): React.ReactElement {
  const [copied, setCopied] = React.useState(false);
  React.useEffect(() => {
    if (!copied) {
      return undefined;
    }
    const timer = window.setTimeout(() => setCopied(false), 2000);
    return () => window.clearTimeout(timer);
  }, [copied]);
  const done = props.trans.__('Copied');
  return (
    <>
      <Button
        kind="quiet"
        aria-label={props.name}
        disabled={props.disabled}
        onClick={() => {
          // Works on plain http too, where navigator.clipboard does not exist.
          Clipboard.copyToSystem(props.text());
          setCopied(true);
        }}
      >
        {copied ? `✓ ${done}` : props.label}
      </Button>
      {/* Beside it, since what is in a button is only its name. */}
      <span className="gpucamp-Hidden" aria-live="polite">
        {copied ? done : ''}
      </span>
    </>
  );
}

/**
 * A command to read and to copy.
 *
 * @param forTerminal - what a terminal elsewhere needs for the same
 * @param copyName - what the button is called where there are several
 */
export function Command(props: {
  command: string;
  copyName?: string;
  forTerminal?: string;
  trans: TranslationBundle;
  testId?: string;
}): React.ReactElement {
  return (
    <div className="gpucamp-Command">
      <code data-testid={props.testId} tabIndex={0}>
        {props.command}
      </code>
      <CopyButton
        label={props.trans.__('Copy')}
        name={props.copyName}
        text={() => props.command}
        trans={props.trans}
        disabled={props.command === ''}
      />
      {props.forTerminal && (
        <CopyButton
          label={props.trans.__('Copy for a terminal')}
          text={() => props.forTerminal ?? ''}
          trans={props.trans}
        />
      )}
    </div>
  );
}

/** What failed, what to do about it, and a way to try again. */
export function ErrorBox(props: {
  error: unknown;
  trans: TranslationBundle;
  retry?: () => void;
}): React.ReactElement {
  return (
    <div className="gpucamp-Error" role="alert">
      <span className="gpucamp-Mark gpucamp-mod-blocker" aria-hidden="true">
        ✗
      </span>
      <span className="gpucamp-Error-text">{describeError(props.error, props.trans)}</span>
      {props.retry && <Button onClick={props.retry}>{props.trans.__('Try again')}</Button>}
    </div>
  );
}
