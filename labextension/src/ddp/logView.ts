import { Widget } from '@lumino/widgets';
import Anser from 'anser';

import { TestId } from '../testids';
import { LogBuffer, LogLine, plainText, withoutMoves } from './logBuffer';

const DRAW_EVERY_MS = 80;
// Drawing rests this many times as long as it took, so that a flood leaves the page usable.
const DRAW_REST = 4;
const AT_END_PIXELS = 24;

/**
 * The log of a run: one element per line that the buffer holds, so that the page stays as small as the buffer is.
 * Only changed lines are drawn. It stays at the end while the reader is there, and where the reader is otherwise.
 */
export class LogView extends Widget {
  constructor(
    private readonly buffer: LogBuffer,
    label: string,
    emptyText: string,
    private readonly droppedText: (count: number) => string
  ) {
    super();
    this.addClass('gpucamp-Log');
    this.node.dataset.testid = TestId.ddpLog;
    this.node.setAttribute('role', 'log');
    // A screen reader reads it on demand; the state of the run is announced elsewhere.
    this.node.setAttribute('aria-live', 'off');
    this.node.setAttribute('aria-label', label);
    this.node.tabIndex = 0;
    this._note.className = 'gpucamp-Log-note';
    this._note.textContent = emptyText;
    this.node.append(this._note);
    this.node.addEventListener('scroll', () => {
      this._atEnd =
        this.node.scrollHeight - this.node.scrollTop - this.node.clientHeight < AT_END_PIXELS;
    });
  }

  /** Whether the view stays at the end. */
  get following(): boolean {
    return this._atEnd;
  }

  /** Goes to the end and stays there. */
  goToEnd(): void {
    this._atEnd = true;
    this.node.scrollTop = this.node.scrollHeight;
  }

  /** Draws soon; many calls make one drawing. */
  changed(): void {
    this._timer ??= window.setTimeout(
      () => {
        this._timer = null;
        const begun = performance.now();
        this._draw();
        this._cost = performance.now() - begun;
      },
      Math.max(DRAW_EVERY_MS, DRAW_REST * this._cost)
    );
  }

  /** All lines held, without colours. */
  text(): string {
    return this.buffer.lines
      .map(line => `${line.rank === null ? '' : `[${line.rank}] `}${plainText(line.text)}\n`)
      .join('');
  }

  override dispose(): void {
    if (this._timer !== null) {
      window.clearTimeout(this._timer);
    }
    super.dispose();
  }

  private _draw(): void {
    if (this.isDisposed) {
      return;
    }
    const { lines, firstId } = this.buffer.drain();
    for (; this._firstId < firstId; this._firstId++) {
      this._rows.get(this._firstId)?.remove();
      this._rows.delete(this._firstId);
    }
    const fresh = document.createDocumentFragment();
    for (const line of lines) {
      let row = this._rows.get(line.id);
      if (!row) {
        row = document.createElement('div');
        this._rows.set(line.id, row);
        fresh.append(row);
      }
      fill(row, line);
    }
    this.node.append(fresh);
    this._note.hidden = this.buffer.dropped === 0 && this._rows.size > 0;
    if (this.buffer.dropped > 0) {
      this._note.textContent = this.droppedText(this.buffer.dropped);
    }
    if (this._atEnd) {
      this.node.scrollTop = this.node.scrollHeight;
    }
  }

  private _rows = new Map<number, HTMLElement>();
  private _firstId = 0;
  private _note = document.createElement('div');
  private _atEnd = true;
  private _timer: number | null = null;
  private _cost = 0;
}

function fill(row: HTMLElement, line: LogLine): void {
  const parts: Node[] = [];
  if (line.rank !== null) {
    const rank = document.createElement('span');
    rank.className = `gpucamp-Log-rank gpucamp-Log-rank-${line.rank % 6}`;
    rank.textContent = `[${line.rank}] `;
    parts.push(rank);
  }
  const text = withoutMoves(line.text);
  if (!text.includes('\x1b')) {
    parts.push(document.createTextNode(text));
  } else {
    const options = { json: true, remove_empty: true, use_classes: true } as const;
    for (const piece of Anser.ansiToJson(text, options)) {
      const span = document.createElement('span');
      span.textContent = piece.content;
      colour(span, piece);
      parts.push(span);
    }
  }
  row.replaceChildren(...parts);
}

function colour(span: HTMLElement, piece: Anser.AnserJsonEntry): void {
  if (piece.fg === 'ansi-truecolor') {
    span.style.color = `rgb(${piece.fg_truecolor})`;
  } else if (piece.fg) {
    span.classList.add(`${piece.fg}-fg`);
  }
  if (piece.bg === 'ansi-truecolor') {
    span.style.backgroundColor = `rgb(${piece.bg_truecolor})`;
  } else if (piece.bg) {
    span.classList.add(`${piece.bg}-bg`);
  }
  for (const decoration of piece.decorations) {
    span.classList.add(`ansi-${decoration}`);
  }
}
