/**
 * Stable hooks for browser tests: values of `data-testid`. They change only together with the tests that name them.
 */
export const TestId = {
  doctorPanel: 'gpucamp-doctor-panel',
  doctorVerdict: 'gpucamp-doctor-verdict',
  doctorKernel: 'gpucamp-doctor-kernel',
  doctorExamine: 'gpucamp-doctor-examine',
  ddpDialog: 'gpucamp-ddp-dialog',
  ddpScript: 'gpucamp-ddp-script',
  ddpProcesses: 'gpucamp-ddp-processes',
  ddpArguments: 'gpucamp-ddp-arguments',
  ddpFolder: 'gpucamp-ddp-folder',
  ddpCommand: 'gpucamp-ddp-command',
  ddpLaunch: 'gpucamp-ddp-launch',
  ddpRuns: 'gpucamp-ddp-runs',
  ddpLog: 'gpucamp-ddp-log',
  ddpState: 'gpucamp-ddp-state',
  ddpStop: 'gpucamp-ddp-stop',
  ddpDiagnosis: 'gpucamp-ddp-diagnosis',
  resetDialog: 'gpucamp-reset-dialog',
  resetConfirm: 'gpucamp-reset-confirm',
  status: 'gpucamp-status',
  statusDetails: 'gpucamp-status-details',
  leaseEnd: 'gpucamp-lease-end',
  leaseExtend: 'gpucamp-lease-extend',
  leaseKeep: 'gpucamp-lease-keep'
} as const;

/** The hook of one finding of the doctor, by its code, e.g. `gpucamp-finding-GC101`. */
export function findingTestId(code: string): string {
  return `gpucamp-finding-${code}`;
}
