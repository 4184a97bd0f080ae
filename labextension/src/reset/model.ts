import type { IApi } from '../api';
import { ApiError, isAbort } from '../errors';
import { Store } from '../store';
import type { ChangedPackage, ResetPreview } from '../wire';
import type { ResetChoice } from './choices';

export interface ResetState {
  phase: 'loading' | 'ready' | 'failed';
  /** Why what goes could not be listed. */
  error: unknown;
  preview: ResetPreview | null;
  choice: ResetChoice;
  filter: string;
  /** Names of packages to install again. */
  again: ReadonlySet<string>;
  /** Paths outside the work folder that are not to be moved. */
  left: ReadonlySet<string>;
  /** Whether runs that go on may be ended. */
  endsRuns: boolean;
}

/** What was agreed to. runs: how many may be ended. */
export interface Agreed {
  choice: ResetChoice;
  again: string[];
  moves: string[];
  runs: number;
}

/**
 * What a person chooses in the dialog.
 *
 * Guarantees: nothing is installed again, and no run is ended, that was not chosen; files outside the work folder are
 * moved unless that was declined; a listing that fails keeps nobody from a reset.
 */
export class ResetModel extends Store<ResetState> {
  constructor(
    private readonly api: Pick<IApi, 'resetPreview'>,
    choice: ResetChoice
  ) {
    super({
      phase: 'loading',
      error: null,
      preview: null,
      choice,
      filter: '',
      again: new Set(),
      left: new Set(),
      endsRuns: false
    });
  }

  /** Asks the server what would go; never rejects. */
  async load(): Promise<void> {
    this._asking?.abort();
    const asking = new AbortController();
    this._asking = asking;
    this.set({ phase: 'loading', error: null });
    try {
      const preview = await this.api.resetPreview(asking.signal);
      this.set({ phase: 'ready', preview });
    } catch (error) {
      if (!isAbort(error)) {
        this.set({ phase: 'failed', error });
      }
    }
  }

  override dispose(): void {
    super.dispose();
    this._asking?.abort();
  }

  /** Whether the server says that it is not for this person to do. */
  get isForbidden(): boolean {
    const { error } = this.state;
    return error instanceof ApiError && error.status === 403;
  }

  /** Whether the choice can be carried out as it is. */
  get canConfirm(): boolean {
    const { choice, phase, preview, endsRuns } = this.state;
    if (this.isForbidden) {
      return false;
    }
    if (choice === 'kernels') {
      return true;
    }
    return phase !== 'loading' && (choice !== 'new' || !preview?.running_runs || endsRuns);
  }

  get agreed(): Agreed {
    const { choice, preview, again, left, endsRuns } = this.state;
    const isNew = choice === 'new';
    const files = (isNew && preview?.outside.files) || [];
    return {
      choice,
      again: isNew ? [...again].sort() : [],
      moves: files.map(file => file.path).filter(path => !left.has(path)),
      runs: isNew && endsRuns ? (preview?.running_runs ?? 0) : 0
    };
  }

  choose(choice: ResetChoice): void {
    this.set({ choice });
  }

  setFilter(filter: string): void {
    this.set({ filter });
  }

  setEndsRuns(endsRuns: boolean): void {
    this.set({ endsRuns });
  }

  /** Of these packages, those that can be. */
  installAgain(packages: readonly ChangedPackage[], wanted: boolean): void {
    const again = new Set(this.state.again);
    for (const one of packages.filter(one => one.again)) {
      if (wanted) {
        again.add(one.name);
      } else {
        again.delete(one.name);
      }
    }
    this.set({ again });
  }

  move(paths: readonly string[], wanted: boolean): void {
    const left = new Set(this.state.left);
    for (const path of paths) {
      if (wanted) {
        left.delete(path);
      } else {
        left.add(path);
      }
    }
    this.set({ left });
  }

  private _asking: AbortController | null = null;
}
