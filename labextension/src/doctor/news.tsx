import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { NO_EXAMINATION, news } from './examination';
import type { DoctorModel } from './model';

/** How many pieces of news are kept for a reader who is behind. */
const LONGEST_NEWS = 20;

/** What changed, for those who do not see it: read once and politely, piece by piece. */
export function News(props: { model: DoctorModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  const [told, setTold] = React.useState<{ id: number; text: string }[]>([]);
  React.useEffect(() => {
    let last = NO_EXAMINATION;
    let id = 0;
    const follow = (): void => {
      const text = news(last, model.state, trans);
      last = model.state;
      if (text !== null) {
        const piece = { id: ++id, text };
        setTold(before => [...before.slice(1 - LONGEST_NEWS), piece]);
      }
    };
    model.stateChanged.connect(follow);
    follow();
    return () => void model.stateChanged.disconnect(follow);
  }, [model, trans]);
  return (
    <div
      className="gpucamp-Hidden"
      role="log"
      aria-live="polite"
      aria-label={trans.__('News of the examination')}
    >
      {told.map(one => (
        <p key={one.id}>{one.text}</p>
      ))}
    </div>
  );
}
