import type { TranslationBundle } from '@jupyterlab/translation';
import { VDomRenderer } from '@jupyterlab/ui-components';
import * as React from 'react';

import { ComparePart } from './comparePart';
import type { MetricsModel } from './metricsModel';
import { MetricsPart } from './metricsPart';
import type { RunModel } from './runModel';
import { isAlive } from './runText';
import { TrackersPart } from './trackersPart';
import type { UsageModel } from './usageModel';
import { UsagePart } from './usagePart';

/** The numbers of a run: what its ranks use, and what its script prints. It owns neither model. */
export class RunNumbers extends VDomRenderer<MetricsModel> {
  constructor(
    private readonly run: RunModel,
    metrics: MetricsModel,
    private readonly usage: UsageModel,
    private readonly trans: TranslationBundle
  ) {
    super(metrics);
    this.addClass('gpucamp-RunPanel-metrics');
    run.stateChanged.connect(this._runChanged, this);
    usage.stateChanged.connect(() => this.update(), this);
    metrics.stateChanged.connect(this._choiceChanged, this);
    this._runChanged();
  }

  protected override render(): React.ReactElement | null {
    const { run } = this.run.state;
    if (!run) {
      return null;
    }
    const { usage, trans } = this;
    const hasNumbers = this.model.state.series.length > 0 || !!usage.state.usage?.ranks.length;
    return (
      <>
        <UsagePart model={usage} run={run} trans={trans} />
        <MetricsPart model={this.model} run={run} trans={trans} />
        <TrackersPart
          trackers={this.model.state.trackers}
          over={!isAlive(run.state)}
          trans={trans}
        />
        {hasNumbers && <ComparePart model={this.model} run={run} trans={trans} />}
      </>
    );
  }

  private _runChanged(): void {
    const { run } = this.run.state;
    if (run) {
      this.model.runChanged(run);
      this.usage.runChanged(run);
    }
  }

  private _choiceChanged(): void {
    void this.usage.compare(this.model.state.compared?.run.id ?? null);
  }
}
