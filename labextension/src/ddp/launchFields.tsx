import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { LaunchDefaults } from '../wire';
import { type FormField, type FormProblem, MAXIMUM_RESTARTS } from './form';
import type { LaunchModel } from './launchModel';

interface FieldProps {
  model: LaunchModel;
  trans: TranslationBundle;
  /** Of the whole form; a field's own id is made of it. */
  id: string;
  name: FormField;
  label: string;
  hint: string;
}

/** A labelled input of the form, with its hint, or with what is wrong with it in the hint's place. */
export function TextField(
  props: FieldProps & React.InputHTMLAttributes<HTMLInputElement> & { testId?: string }
): React.ReactElement {
  const { model, trans, id, name, label, hint, testId, children, ...input } = props;
  return (
    <Field model={model} trans={trans} id={id} name={name} label={label} hint={hint}>
      <input
        type="text"
        {...input}
        {...common(props)}
        className="jp-mod-styled"
        autoComplete="off"
        data-testid={testId}
        onChange={event => model.edit({ [name]: event.target.value })}
      />
      {children}
    </Field>
  );
}

/** The same for a text of several lines. */
export function TextAreaField(
  props: FieldProps & { placeholder?: string; testId?: string }
): React.ReactElement {
  const { model, name, placeholder, testId } = props;
  return (
    <Field {...props}>
      <textarea
        {...common(props)}
        className="jp-mod-styled"
        rows={2}
        placeholder={placeholder}
        data-testid={testId}
        onChange={event => model.edit({ [name]: event.target.value })}
      />
    </Field>
  );
}

/** The same for a choice. The first of `choices` is the server's own: "". */
export function SelectField(
  props: FieldProps & { choices: [value: string, label: string][]; testId?: string }
): React.ReactElement {
  const { model, name, choices, testId } = props;
  return (
    <Field {...props}>
      <select
        {...common(props)}
        className="jp-mod-styled"
        data-testid={testId}
        onChange={event => model.edit({ [name]: event.target.value })}
      >
        {choices.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </Field>
  );
}

function Field(props: FieldProps & { children: React.ReactNode }): React.ReactElement {
  const { model, trans, id, name, label, hint, children } = props;
  const problem = problemOf(model, name);
  return (
    <div className="gpucamp-Field">
      <label htmlFor={`${id}-${name}`}>{label}</label>
      {children}
      <p
        id={`${id}-${name}-hint`}
        className={problem ? 'gpucamp-Field-problem' : 'gpucamp-Muted'}
        role={problem ? 'alert' : undefined}
      >
        {problem ? `✗ ${problemText(problem, model.state.defaults, trans)}` : hint}
      </p>
    </div>
  );
}

function common(props: FieldProps): {
  id: string;
  value: string;
  spellCheck: boolean;
  'aria-invalid': boolean;
  'aria-describedby': string;
} {
  const { model, id, name } = props;
  return {
    id: `${id}-${name}`,
    value: model.state.form[name],
    spellCheck: false,
    'aria-invalid': problemOf(model, name) !== null,
    'aria-describedby': `${id}-${name}-hint`
  };
}

/** What is wrong with a field; an empty form and a notebook are only a beginning. */
function problemOf(model: LaunchModel, name: FormField): FormProblem | null {
  const { problem } = model.state;
  const beginning = problem?.reason === 'no-script' || problem?.reason === 'notebook';
  return problem?.field === name && !beginning ? problem : null;
}

function problemText(
  problem: FormProblem,
  defaults: LaunchDefaults | null,
  trans: TranslationBundle
): string {
  switch (problem.reason) {
    case 'no-script':
    case 'notebook':
      return trans.__('Choose a script.');
    case 'not-python':
      return trans.__('The script must be a .py file.');
    case 'not-a-module':
      return trans.__('Enter the name of a module, such as package.train.');
    case 'not-a-number':
      return trans.__('Enter a whole number.');
    case 'out-of-range':
      if (problem.field === 'restarts') {
        return trans.__('Enter a number from 0 to %1.', MAXIMUM_RESTARTS);
      }
      return defaults
        ? trans.__('Enter a number from 1 to %1.', defaults.max_processes)
        : trans.__('Enter a number above 0.');
    case 'open-quote':
      return trans.__('A quote is not closed.');
    case 'not-a-variable':
      return trans.__('Enter NAME=VALUE, one for each variable.');
    case 'not-ranks':
      return trans.__('Enter ranks below the number of processes, such as 0 or 0,1.');
  }
}
