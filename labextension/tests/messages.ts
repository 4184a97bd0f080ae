import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

export interface Message {
  id: string;
  /** The plural, for a message with a number. */
  plural?: string;
  where: string;
}

/** Every message of the sources: calls of `__` and `_n`. Throws on one whose text is not a literal. */
export function messagesOf(folder: string): Message[] {
  const found: Message[] = [];
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (/\.tsx?$/.test(entry)) {
      collect(join(folder, entry), found);
    }
  }
  return found;
}

function collect(path: string, found: Message[]): void {
  const source = ts.createSourceFile(
    path,
    readFileSync(path, 'utf8'),
    ts.ScriptTarget.Latest,
    true,
    path.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS
  );
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const method = node.expression.name.text;
      const where = `${path}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;
      const literal = (at: number): string => {
        const argument = node.arguments[at];
        if (!argument || !ts.isStringLiteralLike(argument)) {
          throw new Error(`${where}: the text of ${method}() is not a literal`);
        }
        return argument.text;
      };
      if (method === '__' || method === 'gettext') {
        found.push({ id: literal(0), where });
      } else if (method === '_n' || method === 'ngettext') {
        found.push({ id: literal(0), plural: literal(1), where });
      } else if (['_p', '_np', 'pgettext', 'npgettext'].includes(method)) {
        throw new Error(`${where}: messages with a context are not in the catalogue's test`);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}
