import { describe, expect, test } from 'vitest';

import { MAXIMUM_LINE, NdjsonError, NdjsonParser } from '../src/ndjson';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function parse(chunks: Uint8Array[]): unknown[] {
  const parser = new NdjsonParser();
  return [...chunks.flatMap(chunk => parser.push(chunk)), ...parser.end()];
}

const TEXT = '{"a":"é漢🙂"}\r\n\n{"b":[1,2]}\n  \n{"c":"x\\ny"}';
const VALUES = [{ a: 'é漢🙂' }, { b: [1, 2] }, { c: 'x\ny' }];

describe('NdjsonParser', () => {
  test('gives the same values wherever the chunks are cut', () => {
    const whole = bytes(TEXT);
    for (let first = 0; first <= whole.length; first++) {
      for (let second = first; second <= whole.length; second += 3) {
        const chunks = [
          whole.subarray(0, first),
          whole.subarray(first, second),
          whole.subarray(second)
        ];
        expect(parse(chunks)).toEqual(VALUES);
      }
    }
  });

  test('gives a value as soon as its line is complete', () => {
    const parser = new NdjsonParser();
    expect(parser.push(bytes('{"a":1'))).toEqual([]);
    expect(parser.push(bytes('}\n{"a":2}'))).toEqual([{ a: 1 }]);
    expect(parser.push(bytes('\n'))).toEqual([{ a: 2 }]);
    expect(parser.end()).toEqual([]);
  });

  test('skips blank lines, which keep a connection open', () => {
    expect(parse([bytes('\n'), bytes('\n\n'), bytes(' \n{"a":1}\n\n')])).toEqual([{ a: 1 }]);
  });

  test('refuses what is not JSON', () => {
    expect(() => parse([bytes('{"a":1}\n<html>\n')])).toThrow(NdjsonError);
    expect(() => parse([bytes('{"a":1}\n{"cut')])).toThrow(NdjsonError);
  });

  test('does not gather a line without end', () => {
    const parser = new NdjsonParser();
    const half = bytes('x'.repeat(MAXIMUM_LINE / 2 + 1));
    parser.push(half);
    expect(() => parser.push(half)).toThrow(NdjsonError);
  });
});
