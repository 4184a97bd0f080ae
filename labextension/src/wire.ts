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
}

export type Severity = 'blocker' | 'degraded' | 'advice';
export type Who = 'you' | 'instructor';
export type Verdict = 'healthy' | 'advice' | 'degraded' | 'blocked';

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
}

export interface Report {
  started_at: number | string;
  seconds: number;
  kernel: string;
  verdict: Verdict;
  findings: Finding[];
  facts: Record<string, unknown>;
  checks_passed: string[];
  checks_skipped: string[];
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

export interface Warning {
  code: string;
  message: string;
}

export interface LaunchRequest {
  script: string;
  arguments: string[];
  processes: number;
  working_directory?: string;
  /** The id of the plan, so that what is run is what was shown, once. */
  id?: string;
}

export interface LaunchPlan {
  /** The id that the run will have. */
  id?: string;
  command: string;
  /** The same with its folder and its environment, for a terminal anywhere. */
  terminal_command?: string;
  warnings: Warning[];
}

export interface LaunchDefaults {
  processes: number;
  max_processes: number;
  backend: 'nccl' | 'gloo';
}

export type RunState = 'starting' | 'running' | 'succeeded' | 'failed' | 'stopped' | 'lost';

export interface Diagnosis {
  cause: string;
  fix: string;
  rank: number | null;
  evidence: unknown;
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
  arguments?: string[];
  working_directory?: string | null;
}

export type LogEvent =
  | { event?: undefined; offset: number; rank: number | null; text: string }
  | { event: 'end'; run: Run }
  | { event: 'error'; status: number; message: string };

export interface ChangedPackage {
  name: string;
  base: string | null;
  environment: string | null;
}

export interface ResetPreview {
  generation: number;
  can_undo: boolean;
  changed_packages: ChangedPackage[];
  running_runs: number;
  kernels: number;
}
