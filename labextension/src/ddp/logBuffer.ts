/**
 * Log text of several ranks as a bounded list of lines, with what changed since a view last looked. Pure.
 *
 * Guarantees: each rank's text is joined across chunks by itself, so that ranks never cut each other's lines; a
 * carriage return starts its line over (progress bars stay one line, also those whose carriage returns torchrun has
 * made into line ends: it copies what ranks write line by line), and what a rank prints while a bar of its stands is
 * a line of its own, which no bar draws over; at most `maximumLines` lines and
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

// what ends with a bar, wherever it begins: `…, 9.65it/s, loss=0.5]`
const ENDS_WITH_BAR =
  /(?:\d%\|[^|]*\| *[\d.,]+[a-zA-Z]?\/[^[|]{1,20}|[\d.,]+[a-zA-Z]{1,12} )\[\d+:\d\d[^\n]*\]\s*$/;
const COUNT = /([\d.,]+)([kMGTP]?)(?:\/([\d.,]+[kMGTP]?))?[a-zA-Z]{0,12} \[\d+:\d\d/;
const THOUSANDS = ['', 'k', 'M', 'G', 'T', 'P'];

/** A progress bar. name: '' without one; total: '' where none is known. */
export interface Bar {
  name: string;
  done: number;
  total: string;
}

/** The progress bar that a text begins with; null for any other text. */
export function barOf(text: string): Bar | null {
  const plain = plainText(text.slice(0, 400));
  const found = BAR.exec(plain);
  if (!found) {
    return null;
  }
  const [, count = '', scale = '', total = ''] = COUNT.exec(plain) ?? [];
  const done = Number(count.replaceAll(',', '')) * 1000 ** THOUSANDS.indexOf(scale);
  return { name: found[1] ?? '', done, total };
}

/** A bar of a rank as it was drawn last. interrupted: whether the rank has written something else since. */
interface DrawnBar {
  line: LogLine;
  bar: Bar;
  interrupted: boolean;
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

  /** @param cut - whether the text goes on where the last one was cut; else it may be of the rank's other stream */
  push(rank: number | null, text: string, cut = false): void {
    if (!cut && !text.startsWith('\n')) {
      this._part(rank, text);
    }
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

  /** Ends the rank's line where one stream's bar and the other's text would get into the same. */
  private _part(rank: number | null, next: string): void {
    const open = this._open.get(rank)?.line.text ?? '';
    if (open !== '' && (ENDS_WITH_BAR.test(plainText(open)) || barOf(next) !== null)) {
      this._write(rank, '', true);
      this._owed.set(rank, (this._owed.get(rank) ?? 0) + 1);
    }
  }

  /** Whether a line end is only that of a line which was ended before. */
  private _wasOwed(rank: number | null): boolean {
    const owed = this._owed.get(rank) ?? 0;
    this._owed.set(rank, Math.max(0, owed - 1));
    return owed > 0;
  }

  private _write(rank: number | null, text: string, ends: boolean): void {
    let open = this._open.get(rank);
    if (!open && text === '' && ends && this._wasOwed(rank)) {
      return;
    }
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
    const bar = barOf(text);
    const drawn = bar && this._bars.get(rank)?.get(bar.name);
    if (!drawn || drawn.line.id < this._firstId) {
      return null;
    }
    const goesOn = bar.total === drawn.bar.total && bar.done >= drawn.bar.done;
    return goesOn || !drawn.interrupted ? { line: drawn.line, returned: true } : null;
  }

  /** A bar is drawn anew; once its rank has written anything else only one that has gone on: else it is another. */
  private _remember(line: LogLine): void {
    const bar = barOf(line.text);
    if (bar !== null) {
      const bars = this._bars.get(line.rank) ?? new Map<string, DrawnBar>();
      if (bars.size < MAXIMUM_BARS || bars.has(bar.name)) {
        bars.set(bar.name, { line, bar, interrupted: false });
      }
      this._bars.set(line.rank, bars);
    } else if (plainText(line.text).trim() !== '') {
      for (const drawn of this._bars.get(line.rank)?.values() ?? []) {
        drawn.interrupted = true;
      }
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
  private _bars = new Map<number | null, Map<string, DrawnBar>>();
  // of each rank, how many lines were ended before their own line ends came
  private _owed = new Map<number | null, number>();
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
