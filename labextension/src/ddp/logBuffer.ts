/**
 * Log text of several ranks as a bounded list of lines, with what changed since a view last looked. Pure.
 *
 * Guarantees: each rank's text is joined across chunks by itself, so that ranks never cut each other's lines; a
 * carriage return starts its line over (progress bars stay one line, also those whose carriage returns torchrun has
 * made into line ends: it copies what ranks write line by line); at most `maximumLines` lines and
 * `MAXIMUM_LINE_LENGTH` characters per line are held, whatever comes; ids only grow.
 */

export const MAXIMUM_LINE_LENGTH = 8192;
// nested bars of a rank
const MAXIMUM_BARS = 16;

export interface LogLine {
  id: number;
  /** The rank that wrote it; null for the agent. */
  rank: number | null;
  text: string;
}

export interface LogChanges {
  /** New or rewritten lines, in order of their ids. */
  lines: LogLine[];
  /** Ids of lines that are held no longer: all below this. */
  firstId: number;
}

// As tqdm draws it, `epoch 1:  40%|████      | 4/10 [00:01<00:02, …` or `epoch 1: 12it [00:01, …`. What comes before
// the number names it. Strict, because what is taken for a bar is drawn over.
const BAR =
  /^(?:([^|]{0,200}?): ?)? *(?:\d{1,3}%\|[^|]*\| *[\d.,]+[a-zA-Z]?\/[^[|]{1,20}| *[\d.,]+[a-zA-Z]{1,12} )\[\d+:\d\d/;

/** What a progress bar is called, '' for one without a name; null for any other text. */
export function barOf(text: string): string | null {
  const found = BAR.exec(plainText(text.slice(0, 400)));
  return found ? (found[1] ?? '') : null;
}

interface OpenLine {
  line: LogLine;
  /** A "\r" was seen: the next character, if it is not "\n", starts the line over. */
  returned: boolean;
}

export class LogBuffer {
  constructor(private readonly maximumLines = 3000) {}

  /** How many lines were let go. */
  get dropped(): number {
    return this._firstId;
  }

  get lines(): readonly LogLine[] {
    return this._lines;
  }

  push(rank: number | null, text: string): void {
    let from = 0;
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', from)) {
      this._write(rank, text.slice(from, at), true);
      from = at + 1;
    }
    if (from < text.length) {
      this._write(rank, text.slice(from), false);
    }
    this._trim();
  }

  /** What changed since the last call. */
  drain(): LogChanges {
    const lines = [...this._changed.values()]
      .filter(line => line.id >= this._firstId)
      .sort((a, b) => a.id - b.id);
    this._changed.clear();
    return { lines, firstId: this._firstId };
  }

  private _write(rank: number | null, text: string, ends: boolean): void {
    let open = this._open.get(rank);
    if (!open) {
      open = this._continued(rank, text) ?? this._added(rank);
      this._open.set(rank, open);
    }
    // "\r\n" ends a line as "\n" does.
    let rest = text;
    let returned = open.returned;
    if (ends && rest.endsWith('\r')) {
      rest = rest.replace(/\r+$/, '');
    }
    if (ends && rest === '') {
      returned = false;
    }
    const cut = rest.replace(/\r+$/, '');
    const last = cut.lastIndexOf('\r');
    let line = open.line.text;
    if (cut !== '') {
      if (last !== -1) {
        line = cut.slice(last + 1);
      } else {
        line = (returned ? '' : line) + cut;
      }
      returned = false;
    }
    open.returned = returned || cut.length < rest.length;
    open.line.text = line.length > MAXIMUM_LINE_LENGTH ? shorten(line) : line;
    this._changed.set(open.line.id, open.line);
    if (ends) {
      this._open.delete(rank);
      this._remember(open.line);
    }
  }

  private _added(rank: number | null): OpenLine {
    const line = { id: this._nextId++, rank, text: '' };
    this._lines.push(line);
    return { line, returned: false };
  }

  /** The line of the bar that this text draws anew. */
  private _continued(rank: number | null, text: string): OpenLine | null {
    const name = barOf(text);
    const line = name === null ? undefined : this._bars.get(rank)?.get(name);
    return line && line.id >= this._firstId ? { line, returned: true } : null;
  }

  /** A bar may be drawn anew until its rank writes anything else: then the next is another bar. */
  private _remember(line: LogLine): void {
    const name = barOf(line.text);
    if (name !== null) {
      const bars = this._bars.get(line.rank) ?? new Map<string, LogLine>();
      if (bars.size < MAXIMUM_BARS) {
        bars.set(name, line);
      }
      this._bars.set(line.rank, bars);
    } else if (plainText(line.text).trim() !== '') {
      this._bars.delete(line.rank);
    }
  }

  private _trim(): void {
    const excess = this._lines.length - this.maximumLines;
    if (excess <= 0) {
      return;
    }
    for (const line of this._lines.splice(0, excess)) {
      this._changed.delete(line.id);
      if (this._open.get(line.rank)?.line === line) {
        this._open.delete(line.rank);
      }
    }
    this._firstId = this._lines[0]?.id ?? this._nextId;
  }

  private _lines: LogLine[] = [];
  private _open = new Map<number | null, OpenLine>();
  private _changed = new Map<number, LogLine>();
  // of each rank, the bars by their names
  private _bars = new Map<number | null, Map<string, LogLine>>();
  private _nextId = 0;
  private _firstId = 0;
}

function shorten(line: string): string {
  return `${line.slice(0, MAXIMUM_LINE_LENGTH - 1)}…`;
}

// Terminal sequences other than colours: cursor moves, titles, character sets.
const OTHER_SEQUENCES =
  /\x1b(?:\[[0-?]*[ -/]*[@-ln-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/][0-~]|[0-Z\\^-~])/g;
const COLOURS = /\x1b\[[0-9;:]*m/g;

/** The text with its colours, and without sequences that only a terminal can follow. */
export function withoutMoves(text: string): string {
  return text.includes('\x1b') ? text.replace(OTHER_SEQUENCES, '') : text;
}

/** The bare text, for a copy. */
export function plainText(text: string): string {
  return withoutMoves(text).replace(COLOURS, '');
}
