/**
 * The JSON that the server extension speaks, as types. Sizes in bytes, times in seconds since the epoch or ISO 8601.
 */

export interface Device {
  uuid: string;
  name: string | null;
  memory_bytes: number | null;
  memory_used_bytes: number | null;
  utilization_percent: number | null;
}

export interface ServerStatus {
  user: string;
  server: string;
  generation: number | null;
  simulated: boolean;
  devices: Device[];
  cpus: number | null;
  memory_bytes: number | null;
  shm_bytes: number | null;
  shm_free_bytes: number | null;
  service: boolean;
}

export interface LeasedDevice {
  uuid: string;
  name: string;
  simulated: boolean;
  mig: boolean;
  state: 'healthy' | 'missing' | 'quarantined';
  /** Why it is not healthy. */
  reason: string;
  cordon: '' | 'cordoned' | 'draining';
}

export interface Lease {
  id: string;
  state: string;
  /** The end of its term; null: it has none. */
  expires_at: string | null;
  /** How often its user extended it. */
  extensions: number;
  can_extend: boolean;
  extend_refusal: string | null;
  shared: boolean;
  idle_since: string | null;
  /** When an idle device is taken back, unless its user says that it is in use. */
  reclaim_at: string | null;
  devices: LeasedDevice[];
}

export interface Notice {
  id: number;
  at: string | null;
  kind: string;
  text: string;
}

export interface LeaseView {
  /** unknown: the service does not answer, and this is its last word; none: no hub of gpucamp. */
  state: 'known' | 'unknown' | 'none';
  /** The time by the clock by which leases end. */
  now: string;
  /** Whether it is the visitor's own server. */
  mine: boolean;
  lease: Lease | null;
  notices: Notice[];
  /** When to warn before the end, longest first. */
  warn_minutes: number[];
  /** Since when its user asks for help, and what they say; null: they do not. */
  hand: { raised_at: string; text: string } | null;
}

export type Severity = 'blocker' | 'degraded' | 'advice';
export type Who = 'you' | 'instructor';
export type Verdict = 'healthy' | 'advice' | 'degraded' | 'blocked';

/** here: the server does it; kernel: it restarts the kernel that was examined; else where one is led. */
export type RepairKind = 'here' | 'kernel' | 'restart' | 'packages' | 'kernels';

/** What would mend a finding; the texts are for people, in their language. */
export interface Repair {
  kind: RepairKind;
  /** All that would be done, as one would type it; empty where one is led elsewhere. */
  command: string;
  says: string[];
  loses: string[];
  undo: string[];
  then: string[];
}

export interface OfferedRepairs {
  kernel: string;
  /** The code that is being mended; empty: none. */
  running: string;
  repairs: (Repair & { code: string })[];
}

export interface Finding {
  code: string;
  severity: Severity;
  title: string;
  evidence: unknown;
  fix: string;
  who: Who;
  layer?: string;
  command?: string | null;
  docs_url?: string | null;
  repair?: Repair | null;
}

export interface Report {
  started_at: number | string;
  seconds: number;
  kernel: string;
  /** Of the running kernel that was examined; empty or missing: what the spec would start. */
  kernel_id?: string;
  verdict: Verdict;
  findings: Finding[];
  facts: Record<string, unknown>;
  checks_passed: string[];
  /** Those that could not be decided, too. */
  checks_skipped: string[];
  /** Checks that did not learn what they needed to know. */
  checks_unexamined?: string[];
  /** Why, by the name of the check: the code of a finding, or the mistake of the check itself. */
  skipped_because?: Record<string, string>;
  /** Why the server could not keep this report; empty or missing: it did. */
  not_kept?: string | null;
}

export type ExaminationEvent =
  | { event: 'started'; kernel: string; checks: number }
  /** decided: how many checks are answered. */
  | { event: 'probe'; name: string; seconds: number; decided: number }
  | { event: 'finding'; finding: Finding }
  | { event: 'finished'; report: Report }
  | { event: 'error'; status: number; message: string };

export type RepairEvent =
  | { event: 'output'; text: string }
  | { event: 'repaired'; code: string; then: string[] }
  | ExaminationEvent;

export interface Warning {
  code: string;
  message: string;
}

/** Of a script or a module, one of them. */
export interface LaunchRequest {
  script?: string;
  module?: string;
  arguments: string[];
  processes: number;
  working_directory?: string;
  environment?: Record<string, string>;
  max_restarts?: number;
  /** The ranks whose output gets into the log. */
  local_ranks_filter?: number[];
  /** Get rank 0's numbers; not said: those that are set up. */
  trackers?: TrackerName[];
  /** The id of the plan, so that what is run is what was shown, once. */
  id?: string;
}

/** Something about a line of a notebook's cell; both are counted from 1. */
export interface NotebookRemark {
  cell: number;
  line: number;
  code: string;
  message: string;
}

/** A notebook as a script; script: null where there are obstacles. */
export interface NotebookScript {
  script: string | null;
  written: boolean;
  left_out: NotebookRemark[];
  obstacles: NotebookRemark[];
}

/** About a line of a script, from 1; 0: about the whole. */
export interface ScriptNote {
  line: number;
  message: string;
}

/** What would make a DDP script of a plain one; digest: null where there are reasons against it. */
export interface DdpProposal {
  digest: string | null;
  diff: string;
  changes: ScriptNote[];
  remarks: ScriptNote[];
  reasons: ScriptNote[];
}

export interface LaunchPlan {
  /** The id that the run will have. */
  id?: string;
  command: string;
  /** The same with its folder and its environment, for a terminal anywhere. */
  terminal_command?: string;
  warnings: Warning[];
  /** Those that get rank 0's numbers. */
  trackers?: PlannedTracker[];
}

export type TrackerName = 'tensorboard' | 'wandb';

/** where: TensorBoard's folder, or the project of Weights & Biases. */
export interface PlannedTracker {
  name: TrackerName;
  where: string;
  offline: boolean;
}

/** What became of a tracker. where: a folder or an address; missing: its package is not installed. */
export interface TrackerState {
  name: TrackerName;
  state: 'waiting' | 'open' | 'closed' | 'missing' | 'failed';
  where: string;
  reason: string;
}

export interface LaunchDefaults {
  processes: number;
  max_processes: number;
  backend: 'nccl' | 'gloo';
}

/** A kernel of the user's and the memory that it holds, in bytes; null: not known. */
export interface HeldByKernel {
  id: string;
  /** Of its spec. */
  name: string;
  /** The path of its notebook; may be empty. */
  label: string;
  state: string;
  memory_bytes: number | null;
  gpu_bytes: number | null;
  uses_gpu: boolean;
}

export interface KernelsHeld {
  /** False where the kernels could not be looked at. */
  known: boolean;
  /** Whether a run may miss what they hold. */
  much: boolean;
  memory_limit_bytes: number | null;
  kernels: HeldByKernel[];
}

export type RunState = 'starting' | 'running' | 'succeeded' | 'failed' | 'stopped' | 'lost';

export interface Diagnosis {
  cause: string;
  fix: string;
  rank: number | null;
  evidence: unknown;
}

/** What a rank of a run that hangs does. frames: its stack, the innermost first. */
export interface HungRank {
  rank: number;
  doing: string;
  /** The line of the script; "" where it is not known. */
  where: string;
  /** Null where it is in none. */
  collective: string | null;
  frames: string[];
}

/** A run that hangs. rank: which the others wait for, where one is to be named. */
export interface Hang {
  since: string;
  cause: string;
  fix: string;
  rank: number | null;
  ranks: HungRank[];
}

export interface Run {
  id: string;
  script: string;
  command: string;
  processes: number;
  state: RunState;
  started_at: number | string | null;
  ended_at: number | string | null;
  exit_code: number | null;
  diagnosis: Diagnosis | null;
  /** What a run that succeeded should still hear. */
  remarks?: Warning[];
  /** Set as long as it hangs, and kept where it ended so. */
  hang?: Hang | null;
  arguments?: string[];
  working_directory?: string | null;
  is_module?: boolean;
  /** The variables that were asked for. */
  environment?: Record<string, string>;
  max_restarts?: number;
  /** The ranks whose output is not in the log. */
  hidden_ranks?: number[];
  /** Those that were asked for; null: those that were set up. */
  trackers?: TrackerName[] | null;
  /** null: not stated in the arguments, the environment or the log. */
  seed?: Seed | null;
}

/** value: a whole number of any length, as it was written. */
export interface Seed {
  value: string;
  source: 'arguments' | 'environment' | 'printed';
}

export type LogEvent =
  /** cut: it goes on where the text before was cut for reading, not with a header of the rank. */
  | { event?: undefined; offset: number; rank: number | null; text: string; cut?: boolean }
  | { event: 'end'; run: Run }
  | { event: 'error'; status: number; message: string };

/** Numbers of one name that a run printed. A value that is no number is text: "nan", "inf", "-inf". */
export interface MetricSeries {
  name: string;
  rank: number;
  count: number;
  last: number | string;
  least: number | null;
  most: number | null;
  points: [step: number, value: number | string][];
}

export type UsageKind =
  'cpu' | 'memory' | 'gpu_memory' | 'utilization' | 'device_memory' | 'throughput';

/** of: a rank, the UUID of a device, or a unit of throughput. values: at the `times` of the usage. */
export interface UsageSeries {
  kind: UsageKind;
  of: number | string;
  values: (number | null)[];
}

/** A rank as it was when last seen. Sizes in bytes, times in seconds since the start; cpu: 100 is one core. */
export interface RankUsage {
  rank: number;
  pid: number;
  state: 'running' | 'waiting' | 'stopped' | 'ended';
  cpu_percent: number | null;
  memory_bytes: number | null;
  memory_peak_bytes: number | null;
  /** null, as is `device`: NVML does not tell which process is which. */
  gpu_memory_bytes: number | null;
  gpu_memory_peak_bytes: number | null;
  device: string | null;
  starts: number;
  ended_at: number | null;
  exit_code: number | null;
  signal: string | null;
}

export interface RunUsage {
  elapsed_seconds: number | null;
  throughput: { unit: string; mean: number; last: number } | null;
  ranks: RankUsage[];
  devices: Device[];
  times: number[];
  series: UsageSeries[];
}

/** complete: false where there is more to be read now. */
export interface RunMetrics {
  complete: boolean;
  series: MetricSeries[];
  trackers?: TrackerState[];
}

export interface ChangedPackage {
  name: string;
  /** The image's version; null: it has none. */
  base: string | null;
  /** null: it was removed. */
  environment: string | null;
  bytes: number | null;
  /** Whether it can be installed again. */
  again: boolean;
}

/** Something of a person's own in the home outside the work folder. path: relative to the home. */
export interface FileOutside {
  path: string;
  bytes: number | null;
  folder: boolean;
}

/** An environment that a reset can be undone to. expires: a time, or words for people. */
export interface LeftEnvironment {
  generation: number;
  left_at: number | string | null;
  expires: number | string | null;
}

export interface ResetPreview {
  generation: number;
  can_undo: boolean;
  /** Newest first. */
  undo: LeftEnvironment[];
  changed_packages: ChangedPackage[];
  running_runs: number;
  kernels: number;
  /** more: how many are not listed. */
  outside: { files: FileOutside[]; bytes: number | null; more: number };
  environment_bytes: number | null;
}

/** generation: the one to go back to; missing: the last. again: names of packages. */
export interface ResetWish {
  undo: boolean;
  generation?: number;
  again?: string[];
}

/** The ids of kernels. */
export interface RestartedKernels {
  restarted: string[];
  failed: string[];
}

export interface RemovedPackages {
  removed: number;
  kernels: RestartedKernels;
}

export interface MovedFiles {
  moved: { path: string; to: string }[];
  failed: { path: string; why: string }[];
}

/** total_bytes: null where the folder has too much in it to be measured at once. */
export interface Moving {
  moving: { path: string; copied_bytes: number; total_bytes: number | null } | null;
}

export interface PackageAgain {
  name: string;
  version: string;
  state: 'waiting' | 'installing' | 'installed' | 'failed';
  /** Why it failed; may be empty or missing. */
  why?: string | null;
}

/** What becomes of the packages that were to be installed again. */
export interface InstallAgain {
  state: 'none' | 'waiting' | 'installing' | 'done';
  packages: PackageAgain[];
}
