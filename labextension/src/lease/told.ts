/**
 * What this browser has shown already, over reloads and tabs.
 *
 * Guarantee: of the tabs of a browser that claim a key, one gets it, and none ever after. Where the browser keeps
 * nothing (a private window that forbids it), the same holds for the page.
 */

/** Longer than a tab takes to see what another wrote. */
const SETTLE_MS = 150;

export class Told {
  /**
   * @param storage - localStorage, or null where it may not be used
   * @param prefix - of this server's keys
   */
  constructor(
    private readonly storage: Storage | null,
    private readonly prefix: string
  ) {}

  /** True if nobody has shown it, and so this page does. */
  async claim(key: string): Promise<boolean> {
    if (this._mine.has(key)) {
      return false;
    }
    this._mine.add(key);
    if (!this.storage) {
      return true;
    }
    const name = this.prefix + key;
    const me = `${Date.now()}-${Math.random()}`;
    try {
      if (this.storage.getItem(name) !== null) {
        return false;
      }
      this.storage.setItem(name, me);
      // Tabs that wrote at the same moment: the last one stays.
      await new Promise(resolve => setTimeout(resolve, SETTLE_MS));
      return this.storage.getItem(name) === me;
    } catch {
      return true; // full, or forbidden meanwhile: rather twice than never
    }
  }

  /** Forgets what was shown of everything whose key begins otherwise. */
  keepOnly(beginning: string): void {
    this.forget(key => !key.startsWith(beginning));
  }

  /** Forgets all keys that `isOver` names: they may be claimed again. */
  forget(isOver: (key: string) => boolean): void {
    this._mine.forEach(key => {
      if (isOver(key)) {
        this._mine.delete(key);
      }
    });
    try {
      for (const name of Object.keys(this.storage ?? {})) {
        if (name.startsWith(this.prefix) && isOver(name.slice(this.prefix.length))) {
          this.storage?.removeItem(name);
        }
      }
    } catch {
      // It is only tidier without them.
    }
  }

  private _mine = new Set<string>();
}
