/**
 * The runs whose end somebody wants to be told of, in all tabs of this browser.
 *
 * Guarantees: a wish holds over reloads and in every tab; a run that is wished for in one tab is known to the others
 * at once; where the browser keeps nothing (a private window that forbids it), it holds for the page. A wish that
 * nobody fulfilled is forgotten after a month.
 */
import { ISignal, Signal } from '@lumino/signaling';

const KEPT_MS = 30 * 24 * 3600 * 1000;

export interface WishChange {
  id: string;
  wished: boolean;
  /** Whether this tab changed it. */
  here: boolean;
}

export class Wishes {
  /**
   * @param storage - localStorage, or null where it may not be used
   * @param prefix - of this server's keys
   * @param page - where the other tabs' changes are told
   */
  constructor(
    private readonly storage: Storage | null,
    private readonly prefix: string,
    page: EventTarget
  ) {
    this._read();
    page.addEventListener('storage', event => this._changedElsewhere(event as StorageEvent));
  }

  get changed(): ISignal<this, WishChange> {
    return this._changed;
  }

  has(id: string): boolean {
    return this._ids.has(id);
  }

  all(): string[] {
    return [...this._ids];
  }

  set(id: string, wished: boolean): void {
    if (wished === this._ids.has(id)) {
      return;
    }
    this._keep(id, wished);
    try {
      if (wished) {
        this.storage?.setItem(this.prefix + id, String(Date.now()));
      } else {
        this.storage?.removeItem(this.prefix + id);
      }
    } catch {
      // Full, or forbidden meanwhile: it holds for this page.
    }
    this._changed.emit({ id, wished, here: true });
  }

  private _read(): void {
    try {
      for (const name of Object.keys(this.storage ?? {})) {
        if (!name.startsWith(this.prefix)) {
          continue;
        }
        const since = Number(this.storage?.getItem(name));
        if (Date.now() - since < KEPT_MS) {
          this._ids.add(name.slice(this.prefix.length));
        } else {
          this.storage?.removeItem(name);
        }
      }
    } catch {
      // As above.
    }
  }

  private _changedElsewhere(event: StorageEvent): void {
    if (!event.key?.startsWith(this.prefix)) {
      return;
    }
    const id = event.key.slice(this.prefix.length);
    const wished = event.newValue !== null;
    if (wished !== this._ids.has(id)) {
      this._keep(id, wished);
      this._changed.emit({ id, wished, here: false });
    }
  }

  private _keep(id: string, wished: boolean): void {
    if (wished) {
      this._ids.add(id);
    } else {
      this._ids.delete(id);
    }
  }

  private readonly _ids = new Set<string>();
  private readonly _changed = new Signal<this, WishChange>(this);
}
