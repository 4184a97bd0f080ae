import { describe, expect, test } from 'vitest';

import {
  barOf,
  LogBuffer,
  MAXIMUM_LINE_LENGTH,
  plainText,
  withoutMoves
} from '../src/ddp/logBuffer';

const texts = (buffer: LogBuffer): string[] =>
  buffer.lines.map(line => `${line.rank ?? '-'}:${line.text}`);

/** What a terminal would show of `text`, line by line, for text whose lines are rewritten whole. */
function terminal(text: string): string[] {
  const lines = text.split('\n').map(line => {
    const parts = line.split('\r');
    while (parts.length > 1 && parts.at(-1) === '') {
      parts.pop();
    }
    return parts.at(-1) ?? '';
  });
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}

describe('LogBuffer', () => {
  test('joins lines across chunks', () => {
    const buffer = new LogBuffer();
    buffer.push(null, 'one\ntw');
    buffer.push(null, 'o\n\nthree');
    expect(texts(buffer)).toEqual(['-:one', '-:two', '-:', '-:three']);
  });

  test('ranks do not cut each other', () => {
    const buffer = new LogBuffer();
    buffer.push(0, 'zero-');
    buffer.push(1, 'one-');
    buffer.push(0, 'a\nnext\n');
    buffer.push(1, 'b\n');
    expect(texts(buffer)).toEqual(['0:zero-a', '1:one-b', '0:next']);
  });

  test('a carriage return starts the line over, wherever chunks are cut', () => {
    const text = 'epoch\n 10%\r 50%\r100%\ndone\r\nbar 1\rbar 2\r\nlast';
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const buffer = new LogBuffer();
        for (const chunk of [text.slice(0, first), text.slice(first, second), text.slice(second)]) {
          buffer.push(2, chunk);
        }
        expect(buffer.lines.map(line => line.text)).toEqual(terminal(text));
      }
    }
  });

  test('a line that ends in a carriage return stays until something follows', () => {
    const buffer = new LogBuffer();
    buffer.push(null, '50%\r');
    expect(texts(buffer)).toEqual(['-:50%']);
    buffer.push(null, '60%');
    expect(texts(buffer)).toEqual(['-:60%']);
  });

  // as torchrun passes tqdm on: its carriage returns have become line ends
  const bar = (name: string, done: number) =>
    `${name} ${done * 10}%|${'█'.repeat(done)}${' '.repeat(10 - done)}| ${done}/10 [00:0${done % 10}<00:01, 9.9it/s]`;

  test('a bar stays one line where carriage returns have become line ends', () => {
    const buffer = new LogBuffer();
    for (let done = 0; done <= 10; done++) {
      for (const rank of [0, 1]) {
        buffer.push(rank, `\n${bar('epoch 0:', done)}`);
      }
    }
    for (const rank of [0, 1]) {
      buffer.push(rank, '\nloss=0.5\n');
    }
    buffer.push(0, `${bar('epoch 0:', 1)}\n`);
    expect(texts(buffer)).toEqual([
      '0:',
      `0:${bar('epoch 0:', 10)}`,
      '1:',
      `1:${bar('epoch 0:', 10)}`,
      '0:loss=0.5',
      '1:loss=0.5',
      `0:${bar('epoch 0:', 1)}` // after other output it is another bar
    ]);
  });

  test('bars of two names are two lines, and a bar that was let go comes back below', () => {
    const buffer = new LogBuffer(3);
    buffer.push(
      0,
      `${bar('outer:', 1)}\n${bar('inner:', 1)}\n${bar('inner:', 2)}\n${bar('outer:', 2)}\n`
    );
    expect(texts(buffer)).toEqual([`0:${bar('outer:', 2)}`, `0:${bar('inner:', 2)}`]);
    buffer.push(1, 'a\nb\nc\n');
    buffer.push(0, bar('outer:', 3));
    expect(texts(buffer)).toEqual(['1:b', '1:c', `0:${bar('outer:', 3)}`]);
  });

  test('what is printed between two drawings of a bar stays, and the bar is one line', () => {
    const buffer = new LogBuffer();
    // as torchrun copies both streams of a rank; a header in the middle of a line is a piece of its own
    buffer.push(0, 'step=0\n\n');
    buffer.push(0, bar('train:', 0));
    for (let step = 1; step <= 3; step++) {
      buffer.push(0, `step=${step}\n\n${bar('train:', step)}`);
    }
    buffer.push(0, '\nepoch 1 is over\n');
    expect(texts(buffer)).toEqual([
      ...['0:step=0', '0:', `0:${bar('train:', 3)}`, '0:step=1', '0:step=2', '0:step=3'],
      '0:epoch 1 is over'
    ]);
    buffer.push(0, `${bar('train:', 0)}\n`); // begins anew: the next epoch's
    expect(texts(buffer).at(-1)).toBe(`0:${bar('train:', 0)}`);
  });

  test('the same where the line end of what is printed comes by itself', () => {
    const buffer = new LogBuffer();
    buffer.push(0, bar('train:', 1));
    buffer.push(0, 'step=1');
    buffer.push(0, bar('train:', 2));
    buffer.push(0, '\n');
    buffer.push(0, '\n');
    buffer.push(0, 'step=2');
    buffer.push(0, '\n');
    buffer.push(0, bar('train:', 3));
    buffer.push(0, 'step=3\n\nend\n');
    expect(texts(buffer)).toEqual([
      ...[`0:${bar('train:', 3)}`, '0:step=1', '0:step=2', '0:step=3', '0:end']
    ]);
  });

  test('half a line that is no bar is joined', () => {
    const buffer = new LogBuffer();
    buffer.push(0, 'loss=');
    buffer.push(0, '0.5\n');
    buffer.push(0, `half of a ${bar('bar:', 1).slice(0, 20)}`);
    buffer.push(0, ' and more\n');
    expect(texts(buffer)).toEqual([
      '0:loss=0.5',
      `0:half of a ${bar('bar:', 1).slice(0, 20)} and more`
    ]);
  });

  test('only a bar is taken for one', () => {
    expect(barOf(bar('epoch 3:', 4))?.name).toBe('epoch 3');
    expect(barOf(bar('', 4))?.name).toBe('');
    expect(barOf(`\x1b[32m${bar('train:', 4)}`)?.name).toBe('train');
    expect(barOf('load: 12it [00:01, 11.5it/s]')).toEqual({ name: 'load', done: 12, total: '' });
    expect(barOf('data:  34%|###4      | 1.2G/3.5G [1:00:02<2:00:00, 1.1MB/s]')).toEqual({
      name: 'data',
      done: 1.2e9,
      total: '3.5G'
    });
    for (const text of [
      '',
      '50%',
      'acc: 40%| 3 | 4 |',
      'loss: 3m [a]',
      'step 3 of 10 [00:01]',
      'a | 5%|'
    ]) {
      expect(barOf(text)).toBeNull();
    }
  });

  test('tells a view exactly what changed', () => {
    const buffer = new LogBuffer(3);
    buffer.push(null, 'a\nb');
    expect(buffer.drain()).toEqual({
      lines: [
        { id: 0, rank: null, text: 'a' },
        { id: 1, rank: null, text: 'b' }
      ],
      firstId: 0
    });
    expect(buffer.drain().lines).toEqual([]);
    buffer.push(null, 'B\nc\nd\n');
    expect(buffer.drain()).toEqual({
      lines: [
        { id: 1, rank: null, text: 'bB' },
        { id: 2, rank: null, text: 'c' },
        { id: 3, rank: null, text: 'd' }
      ],
      firstId: 1
    });
  });

  test('holds no more than it may, and counts what it let go', () => {
    const buffer = new LogBuffer(100);
    for (let at = 0; at < 1000; at++) {
      buffer.push(at % 4, `line ${at}\n`);
    }
    expect(buffer.lines.length).toBe(100);
    expect(buffer.lines.at(-1)?.text).toBe('line 999');
    expect(buffer.dropped).toBe(900);
    const { lines, firstId } = buffer.drain();
    expect(lines.length).toBe(100);
    expect(firstId).toBe(900);
  });

  test('many lines in one piece are bounded, too', () => {
    const buffer = new LogBuffer(10);
    buffer.push(0, 'x\n'.repeat(5000));
    expect(buffer.lines.length).toBe(10);
    expect(buffer.dropped).toBe(4990);
  });

  test('an open line that was let go does not come back to life', () => {
    const buffer = new LogBuffer(2);
    buffer.push(0, 'open');
    buffer.push(1, 'a\nb\nc\n');
    buffer.push(0, 'more\n');
    expect(texts(buffer)).toEqual(['1:c', '0:more']);
  });

  test('a huge line is cut, in one piece or in many', () => {
    const buffer = new LogBuffer();
    buffer.push(0, 'x'.repeat(1_000_000));
    for (let at = 0; at < 1000; at++) {
      buffer.push(0, 'y'.repeat(1000));
    }
    expect(buffer.lines[0]?.text.length).toBe(MAXIMUM_LINE_LENGTH);
    buffer.push(0, '\nnext');
    expect(buffer.lines[1]?.text).toBe('next');
  });
});

describe('terminal sequences', () => {
  test('moves go, colours stay', () => {
    const text = '\x1b[2K\x1b[1A\x1b[31mred\x1b[0m\x1b]0;title\x07!\x1b(B';
    expect(withoutMoves(text)).toBe('\x1b[31mred\x1b[0m!');
    expect(plainText(text)).toBe('red!');
  });

  test('plain text is as it was', () => {
    expect(plainText('loss=[0.5] 100%|███|')).toBe('loss=[0.5] 100%|███|');
  });
});
