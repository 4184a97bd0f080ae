/**
 * Stable hooks for browser tests: values of `data-testid`. They change only together with the tests that name them.
 */
export const TestId = {
  doctorPanel: 'gpucamp-doctor-panel',
  doctorVerdict: 'gpucamp-doctor-verdict',
  doctorKernel: 'gpucamp-doctor-kernel',
  doctorExamine: 'gpucamp-doctor-examine',
  performance: 'gpucamp-performance',
  performanceMeasure: 'gpucamp-performance-measure',
  repair: 'gpucamp-repair',
  repairDialog: 'gpucamp-repair-dialog',
  repairCommand: 'gpucamp-repair-command',
  ddpDialog: 'gpucamp-ddp-dialog',
  ddpScript: 'gpucamp-ddp-script',
  ddpProcesses: 'gpucamp-ddp-processes',
  ddpArguments: 'gpucamp-ddp-arguments',
  ddpFolder: 'gpucamp-ddp-folder',
  ddpModule: 'gpucamp-ddp-module',
  ddpLogRank: 'gpucamp-ddp-log-rank',
  ddpLogSearch: 'gpucamp-ddp-log-search',
  ddpKernels: 'gpucamp-ddp-kernels',
  ddpKernelsEnd: 'gpucamp-ddp-kernels-end',
  ddpRecent: 'gpucamp-ddp-recent',
  ddpNotify: 'gpucamp-ddp-notify',
  ddpMetrics: 'gpucamp-ddp-metrics',
  ddpUsage: 'gpucamp-ddp-usage',
  ddpMakeDdp: 'gpucamp-ddp-make-ddp',
  ddpProposal: 'gpucamp-ddp-proposal',
  ddpAccept: 'gpucamp-ddp-accept',
  ddpNotebook: 'gpucamp-ddp-notebook',
  ddpMore: 'gpucamp-ddp-more',
  ddpVariables: 'gpucamp-ddp-variables',
  ddpThreads: 'gpucamp-ddp-threads',
  ddpNcclDebug: 'gpucamp-ddp-nccl-debug',
  ddpRestarts: 'gpucamp-ddp-restarts',
  ddpRanks: 'gpucamp-ddp-ranks',
  ddpTrackers: 'gpucamp-ddp-trackers',
  ddpPlannedTrackers: 'gpucamp-ddp-planned-trackers',
  ddpTrackerStates: 'gpucamp-ddp-tracker-states',
  ddpCommand: 'gpucamp-ddp-command',
  ddpLaunch: 'gpucamp-ddp-launch',
  ddpRuns: 'gpucamp-ddp-runs',
  ddpLog: 'gpucamp-ddp-log',
  ddpState: 'gpucamp-ddp-state',
  ddpStop: 'gpucamp-ddp-stop',
  ddpHang: 'gpucamp-ddp-hang',
  ddpDiagnosis: 'gpucamp-ddp-diagnosis',
  ddpRemarks: 'gpucamp-ddp-remarks',
  resetDialog: 'gpucamp-reset-dialog',
  resetConfirm: 'gpucamp-reset-confirm',
  resetDetails: 'gpucamp-reset-details',
  resetPackages: 'gpucamp-reset-packages',
  resetFiles: 'gpucamp-reset-files',
  resetEndRuns: 'gpucamp-reset-end-runs',
  undoDialog: 'gpucamp-undo-dialog',
  status: 'gpucamp-status',
  statusDetails: 'gpucamp-status-details',
  leaseEnd: 'gpucamp-lease-end',
  leaseExtend: 'gpucamp-lease-extend',
  leaseKeep: 'gpucamp-lease-keep',
  lowerHand: 'gpucamp-lower-hand'
} as const;

/** The hook of one of the choices of a reset. */
export function resetChoiceTestId(choice: string): string {
  return `gpucamp-reset-choice-${choice}`;
}

/** The hook of the button that offers a finding's repair. */
export function repairTestId(code: string): string {
  return `gpucamp-repair-${code}`;
}

/** The hook of one finding of the doctor, by its code, e.g. `gpucamp-finding-GC101`. */
export function findingTestId(code: string): string {
  return `gpucamp-finding-${code}`;
}
