import { ISignal, Signal } from '@lumino/signaling';

/**
 * A state that only changes as a whole, with a signal for views (it fits JupyterLab's VDomRenderer as its model).
 */
export class Store<State> {
  constructor(state: State) {
    this._state = state;
  }

  get state(): State {
    return this._state;
  }

  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      Signal.clearData(this);
    }
  }

  protected set(change: Partial<State>): void {
    if (this._isDisposed) {
      return;
    }
    this._state = { ...this._state, ...change };
    this._stateChanged.emit();
  }

  private _state: State;
  private _stateChanged = new Signal<this, void>(this);
  private _isDisposed = false;
}
