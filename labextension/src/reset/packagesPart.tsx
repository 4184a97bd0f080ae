import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button } from '../components';
import { bytesText } from '../statusText';
import { TestId } from '../testids';
import type { ChangedPackage } from '../wire';
import type { ResetModel } from './model';
import { filtered, packagesText, packageText } from './summary';

/** From how many packages on there is a field to filter them. */
const MANY = 8;

/**
 * The packages that differ from the image's.
 *
 * @param again - whether they can be chosen to be installed again
 */
export function PackagesPart(props: {
  model: ResetModel;
  again?: boolean;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, again, trans } = props;
  const { preview, filter, again: chosen } = model.state;
  const packages = preview?.changed_packages ?? [];
  const shown = filtered(packages, filter);
  const offered = again ? shown.filter(one => one.again) : [];
  return (
    <section aria-labelledby="gpucamp-reset-packages" data-testid={TestId.resetPackages}>
      <h2 id="gpucamp-reset-packages">{packagesText(packages, trans)}</h2>
      {packages.length > MANY && (
        <input
          type="search"
          className="gpucamp-Reset-filter jp-mod-styled"
          placeholder={trans.__('Filter by name')}
          aria-label={trans.__('Filter by name')}
          value={filter}
          onChange={event => model.setFilter(event.target.value)}
        />
      )}
      {offered.length > 0 && (
        <div className="gpucamp-Actions">
          <span>
            {trans._n('Install again: %1 chosen', 'Install again: %1 chosen', chosen.size)}
          </span>
          <Button kind="quiet" onClick={() => model.installAgain(shown, true)}>
            {trans.__('All')}
          </Button>
          <Button kind="quiet" onClick={() => model.installAgain(shown, false)}>
            {trans.__('None')}
          </Button>
        </div>
      )}
      {packages.length > 0 && (
        <ul className="gpucamp-Reset-list" tabIndex={0} aria-labelledby="gpucamp-reset-packages">
          {shown.map(one => (
            <li key={one.name}>
              {again && one.again ? (
                <label>
                  <input
                    type="checkbox"
                    checked={chosen.has(one.name)}
                    aria-label={trans.__('Install %1 again', one.name)}
                    onChange={event => model.installAgain([one], event.target.checked)}
                  />
                  <Row changed={one} trans={trans} />
                </label>
              ) : (
                <Row changed={one} trans={trans} />
              )}
            </li>
          ))}
          {shown.length === 0 && <li>{trans.__('None has this in its name.')}</li>}
        </ul>
      )}
    </section>
  );
}

function Row(props: { changed: ChangedPackage; trans: TranslationBundle }): React.ReactElement {
  const { changed, trans } = props;
  return (
    <>
      <span>{packageText(changed, trans)}</span>
      <span className="gpucamp-Reset-size">
        {changed.bytes === null ? '' : bytesText(changed.bytes)}
      </span>
    </>
  );
}
