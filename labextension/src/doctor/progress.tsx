import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Report } from '../wire';
import { ageText } from './examination';
import type { DoctorModel } from './model';

/** How far an examination is, or of what and of when it is. */
export function Progress(props: {
  model: DoctorModel;
  /** What the examined kernel is called. */
  kernel: string;
  trans: TranslationBundle;
}): React.ReactElement {
  const { kernel, trans } = props;
  const { phase, checks, done, report, before } = props.model.state;
  const age = useAge(report ?? before, trans);
  if (phase === 'running') {
    return (
      <>
        <div className="gpucamp-Progress">
          <progress
            max={checks || 1}
            value={checks ? done : undefined}
            aria-label={trans.__('Progress of the examination')}
          />
          <span>{checks ? trans.__('%1 of %2 checks', done, checks) : trans.__('Starting…')}</span>
        </div>
        {before && (
          <p className="gpucamp-Muted">
            {trans.__('Until it has ended you also see the last report, from %1.', age)}
          </p>
        )}
      </>
    );
  }
  return (
    <p className="gpucamp-Muted">
      {phase === 'finished' && report
        ? trans.__('Kernel %1, examined %2; it took %3 s', kernel, age, report.seconds.toFixed(1))
        : trans.__('Kernel: %1', kernel)}
      {before && ` · ${trans.__('You also see the last report, from %1.', age)}`}
    </p>
  );
}

/** How old a report is; it grows while one looks. */
function useAge(report: Report | null, trans: TranslationBundle): string {
  const [now, setNow] = React.useState(() => Date.now());
  React.useEffect(() => {
    setNow(Date.now());
    const timer = window.setInterval(() => setNow(Date.now()), 30_000);
    return () => window.clearInterval(timer);
  }, [report]);
  return report ? ageText(report, now, trans) : '';
}
