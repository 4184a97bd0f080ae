/**
 * Newline-delimited JSON out of chunks of bytes.
 *
 * Guarantees: a value is given exactly once, whole, and in order, wherever the chunks are cut (in a line, in a
 * multi-byte character, in "\r\n"); blank lines, which a server sends to keep a connection open, are skipped; a
 * line that is not JSON, or longer than `MAXIMUM_LINE` characters, throws instead of being lost.
 */

export const MAXIMUM_LINE = 16 * 1024 * 1024;

export class NdjsonError extends Error {}

export class NdjsonParser {
  /** The values completed by `chunk`. */
  push(chunk: Uint8Array): unknown[] {
    return this._take(this._decoder.decode(chunk, { stream: true }));
  }

  /** The value of a last line that has no newline, if any. */
  end(): unknown[] {
    return this._take(`${this._decoder.decode()}\n`);
  }

  private _take(text: string): unknown[] {
    const values: unknown[] = [];
    let from = 0;
    for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', from)) {
      const line = this._rest + text.slice(from, at);
      this._rest = '';
      from = at + 1;
      if (line.trim() !== '') {
        values.push(parse(line));
      }
    }
    this._rest += text.slice(from);
    if (this._rest.length > MAXIMUM_LINE) {
      throw new NdjsonError('A line of the stream is too long');
    }
    return values;
  }

  private _decoder = new TextDecoder();
  private _rest = '';
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    throw new NdjsonError(`Not JSON: ${line.slice(0, 80)}`);
  }
}
