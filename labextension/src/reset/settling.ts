/**
 * When the server has the layout as it is: JupyterLab saves it 0.75 s after its last change, and a reset that comes
 * before would keep the one before.
 */

/** JupyterLab's own pause (@jupyterlab/apputils-extension), and a moment for the request. */
const SAVED_AFTER_MS = 1_000;

export class Settling {
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** The layout has changed just now. */
  changed(): void {
    this._changedAt = this.now();
  }

  /** Milliseconds until it is saved; 0 where it is. */
  get left(): number {
    return Math.max(0, this._changedAt + SAVED_AFTER_MS - this.now());
  }

  private _changedAt = -Infinity;
}
