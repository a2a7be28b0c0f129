// WebAssembly's text format as a tree of expressions: read, changed and printed by the instrumenter.

/** An atom (a keyword, a name, a number or a quoted string, as written) or a list in parentheses. */
export type Expression = string | Expression[];

/** Nesting that the readers of the tree, which recurse, are sure to have stack for. */
export const nestingLimit = 2_000;

/** The text is not a tree of expressions, or is nested deeper than `nestingLimit`. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
}

const token = /\s+|;;[^\n]*|\(;[\s\S]*?;\)|(\$?"(?:[^"\\]|\\[\s\S])*"|\(|\)|[^\s()";]+)/y;

/**
 * Reads one expression; comments and white space are dropped.
 * @throws {ExpressionError}
 */
export function readExpression(text: string): Expression[] {
  const root: Expression[] = [];
  const open: Expression[][] = [];
  let list = root;
  token.lastIndex = 0;
  while (token.lastIndex < text.length) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (match === null) throw new ExpressionError(`unexpected character at ${at}`);
    const atom = match[1];
    if (atom === undefined) continue;
    if (atom === '(') {
      if (open.length >= nestingLimit) throw new ExpressionError(`expressions are nested deeper than ${nestingLimit}: split the function`);
      const inner: Expression[] = [];
      list.push(inner);
      open.push(list);
      list = inner;
    } else if (atom === ')') {
      const outer = open.pop();
      if (outer === undefined) throw new ExpressionError(`unexpected ")" at ${at}`);
      list = outer;
    } else {
      list.push(atom);
    }
  }
  const [expression, ...rest] = root;
  if (open.length > 0 || rest.length > 0 || !Array.isArray(expression)) throw new ExpressionError('not one expression');
  return expression;
}

/** Prints an expression on one line. */
export function printExpression(expression: Expression): string {
  const pieces: string[] = [];
  print(expression, pieces);
  return pieces.join('');
}

function print(expression: Expression, pieces: string[]): void {
  if (typeof expression === 'string') {
    pieces.push(expression);
    return;
  }
  let separator = '(';
  for (const item of expression) {
    pieces.push(separator);
    print(item, pieces);
    separator = ' ';
  }
  pieces.push(expression.length === 0 ? '()' : ')');
}

/** The keyword that a list begins with; the empty string for an atom. */
export function keywordOf(expression: Expression | undefined): string {
  const head = Array.isArray(expression) ? expression[0] : undefined;
  return typeof head === 'string' ? head : '';
}

/** Reads text that the compiler itself wrote as the items of a list. */
export function expressions(text: string): Expression[] {
  return readExpression(`(${text})`);
}

const escapes: Record<string, string> = { t: '\t', n: '\n', r: '\r' };

/** The text that a quoted string of the text format stands for. */
export function unquote(string: string): string {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const [piece, point, byte, simple] of string.slice(1, -1).matchAll(/\\u\{([0-9a-fA-F]+)\}|\\([0-9a-fA-F]{2})|\\(.)|[^\\]/gu)) {
    if (byte !== undefined) bytes.push(Number.parseInt(byte, 16));
    else if (point !== undefined) bytes.push(...encoder.encode(String.fromCodePoint(Number.parseInt(point, 16))));
    else bytes.push(...encoder.encode(simple === undefined ? piece : (escapes[simple] ?? simple)));
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}

/** Text as a quoted string of the text format. */
export function quote(text: string): string {
  return `"${Array.from(new TextEncoder().encode(text), (byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}"`;
}
