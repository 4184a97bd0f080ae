import { Widget } from '@lumino/widgets';
import Anser from 'anser';

import { TestId } from '../testids';
import { LogBuffer, LogLine, plainText, withoutMoves } from './logBuffer';
import { groundOf, inkOf, rankInk } from './logColours';

const DRAW_EVERY_MS = 80;
// Drawing rests this many times as long as it took, so that a flood leaves the page usable.
const DRAW_REST = 4;
const AT_END_PIXELS = 24;

/** Which lines are shown. rank: null for all; text: what a line must have, whatever its case. */
export interface LogFilter {
  rank: number | null;
  text: string;
}

/** Whether a line is shown. torchrun's own lines belong to no rank, and are seen with all of them only. */
export function isShown(line: LogLine, filter: LogFilter): boolean {
  return (
    (filter.rank === null || line.rank === filter.rank) &&
    (filter.text === '' || plainText(line.text).toLowerCase().includes(filter.text.toLowerCase()))
  );
}

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

  /** Shows some of the lines only; gives how many those are. */
  setFilter(filter: LogFilter): number {
    this._filter = filter;
    let shown = 0;
    for (const line of this.buffer.lines) {
      const visible = isShown(line, filter);
      shown += Number(visible);
      const row = this._rows.get(line.id);
      if (row) {
        row.hidden = !visible;
      }
    }
    if (this._atEnd) {
      this.node.scrollTop = this.node.scrollHeight;
    }
    return shown;
  }

  /** Draws at once, or when it has rested from the last drawing; many calls make one drawing. */
  changed(): void {
    this._timer ??= window.setTimeout(
      () => {
        this._timer = null;
        const begun = performance.now();
        this._draw();
        const ended = performance.now();
        this._rested = ended + Math.max(DRAW_EVERY_MS, DRAW_REST * (ended - begun));
      },
      Math.max(0, this._rested - performance.now())
    );
  }

  /** The lines that are shown, without colours. */
  text(): string {
    return this.buffer.lines
      .filter(line => isShown(line, this._filter))
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
      row.hidden = !isShown(line, this._filter);
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

  private _filter: LogFilter = { rank: null, text: '' };
  private _rows = new Map<number, HTMLElement>();
  private _firstId = 0;
  private _note = document.createElement('div');
  private _atEnd = true;
  private _timer: number | null = null;
  private _rested = 0; // when it may draw again
}

function fill(row: HTMLElement, line: LogLine): void {
  const parts: Node[] = [];
  if (line.rank !== null) {
    const rank = document.createElement('span');
    rank.className = 'gpucamp-Log-rank';
    rank.style.color = rankInk(line.rank);
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
  const isRgb = (name: string): boolean => name === 'ansi-truecolor';
  span.style.color = isRgb(piece.fg) ? `rgb(${piece.fg_truecolor})` : inkOf(piece.fg);
  span.style.backgroundColor = isRgb(piece.bg) ? `rgb(${piece.bg_truecolor})` : groundOf(piece.bg);
  for (const decoration of piece.decorations) {
    span.classList.add(`ansi-${decoration}`);
  }
}
