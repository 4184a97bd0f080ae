import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { messagesOf } from './messages';

const ROOT = join(import.meta.dirname, '..');
const CATALOGUE = join(ROOT, '../server_ext/locale/zh_CN/LC_MESSAGES/gpucamp.json');

const { '': header, ...entries } = JSON.parse(readFileSync(CATALOGUE, 'utf8')) as Record<
  string,
  string[]
> & { '': Record<string, string> };
const messages = messagesOf(join(ROOT, 'src'));

const placeholders = (text: string): string[] => [...new Set(text.match(/%\d+/g))].sort();

test('the sources have messages', () => {
  expect(messages.length).toBeGreaterThan(100);
});

test('the header is what JupyterLab needs to load it', () => {
  expect(header).toMatchObject({ domain: 'gpucamp', language: 'zh-CN' });
  expect(header['plural_forms']).toMatch(/^nplurals=\d; plural=/);
});

test('every message of the sources is in the catalogue, in the form that JupyterLab looks up', () => {
  const wrong = messages.filter(message => {
    const forms = entries[message.id];
    // JupyterLab takes a plural only from a list longer than one, and a singular only from a list of one.
    return !forms || (message.plural === undefined ? forms.length !== 1 : forms.length < 2);
  });
  expect(wrong).toEqual([]);
});

test('the catalogue has nothing that the sources do not say', () => {
  const ids = new Set(messages.map(message => message.id));
  expect(Object.keys(entries).filter(id => !ids.has(id))).toEqual([]);
});

test('translations are there and fill in the same values', () => {
  for (const [id, forms] of Object.entries(entries)) {
    for (const text of forms) {
      expect(text.trim(), id).not.toBe('');
      expect(placeholders(text), id).toEqual(placeholders(id));
    }
  }
});
