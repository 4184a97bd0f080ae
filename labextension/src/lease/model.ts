import type { IApi } from '../api';
import { Store } from '../store';
import type { Lease, LeaseView } from '../wire';
import { timeOf } from './texts';

const MINUTE = 60_000;

export interface LeaseState {
  /** The last view; null before the first. */
  view: LeaseView | null;
  /** What is being asked for. */
  busy: 'extend' | 'keep' | 'hand' | null;
  /** Why the last wish was not granted. */
  error: unknown;
}

/**
 * The lease of this server. It is asked for by whoever calls `ask()`; in between it counts down by itself: its signal
 * is emitted each time that another minute is gone. An answer's `now` tells by how much this browser's clock is
 * wrong, so a lease ends when it ends, whatever the clock on the wall says.
 */
export class LeaseModel extends Store<LeaseState> {
  constructor(private readonly api: IApi) {
    super({ view: null, busy: null, error: null });
  }

  get lease(): Lease | null {
    return this.state.view?.lease ?? null;
  }

  /** The time by the clock by which leases end, in milliseconds since the epoch. */
  now(): number {
    return Date.now() + this._ahead;
  }

  /** Milliseconds to the end of the lease; null: it has no end, or there is no lease. */
  left(): number | null {
    const end = timeOf(this.lease?.expires_at);
    return end === null ? null : end - this.now();
  }

  /** Whether the first warning is due: the time left asks for attention. */
  get isEnding(): boolean {
    const left = this.left();
    const first = this.state.view?.warn_minutes[0];
    return left !== null && first !== undefined && left <= first * MINUTE;
  }

  /** Asks the server. Fails as the request does; what was known stays. */
  async ask(): Promise<void> {
    const asked = ++this._asked;
    const view = await this.api.lease();
    // A wish that was granted meanwhile has brought newer news.
    if (asked > this._granted) {
      this._take(view);
    }
  }

  /** Wishes more time. True if it was granted. */
  extend(): Promise<boolean> {
    return this._wish('extend', () => this.api.extendLease());
  }

  /** Says that an idle device is in use. True if it was heard. */
  keep(): Promise<boolean> {
    return this._wish('keep', () => this.api.keepLease());
  }

  /** Asks for help. True if it was heard. */
  raiseHand(text: string): Promise<boolean> {
    return this._wish('hand', () => this.api.raiseHand(text));
  }

  lowerHand(): Promise<boolean> {
    return this._wish('hand', () => this.api.lowerHand());
  }

  /** Marks notices up to this one as read. */
  async read(upTo: number): Promise<void> {
    const view = await this.api.readNotices(upTo);
    this._granted = this._asked;
    this._take(view);
  }

  override dispose(): void {
    clearTimeout(this._timer);
    super.dispose();
  }

  private async _wish(busy: LeaseState['busy'], ask: () => Promise<LeaseView>): Promise<boolean> {
    if (this.state.busy) {
      return false;
    }
    this.set({ busy, error: null });
    try {
      const view = await ask();
      this._granted = this._asked;
      this._take(view);
      return true;
    } catch (error) {
      this.set({ error });
      return false;
    } finally {
      this.set({ busy: null });
    }
  }

  private _take(view: LeaseView): void {
    const now = timeOf(view.now);
    if (now !== null) {
      this._ahead = now - Date.now();
    }
    const { view: before, error } = this.state;
    const sameLease = before?.lease?.expires_at === view.lease?.expires_at;
    this.set({ view, error: sameLease ? error : null });
    this._tickAtTheNextMinute();
  }

  private _tickAtTheNextMinute(): void {
    clearTimeout(this._timer);
    const left = this.left();
    if (this.isDisposed || left === null || left <= 0) {
      return;
    }
    // Just after it, so that what is read then has changed. Thresholds of warnings are whole minutes, too.
    const wait = (left % MINUTE || MINUTE) + 20;
    this._timer = setTimeout(() => {
      this.set({});
      this._tickAtTheNextMinute();
    }, wait);
  }

  private _ahead = 0;
  private _asked = 0;
  private _granted = 0;
  private _timer: ReturnType<typeof setTimeout> | undefined;
}
