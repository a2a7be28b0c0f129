// Loops that count: a local goes from where it is to a limit in constant steps. How far it is yet to go is known before each round of them.

import { type Expression, keywordOf } from './expression.ts';

export type CountedLoop = WhileLoop | UntilLoop;

/** A loop of the form `(loop $l (if (compare $index limit) (then … (local.set $index (i32.add $index step)) … (br $l))))`. */
type WhileLoop = {
  readonly form: 'while';
  readonly index: string;
  readonly limit: Expression;
  /** What the index and the limit are compared by, in this order. */
  readonly compare: 'i32.lt_s' | 'i32.lt_u' | 'i32.gt_s' | 'i32.gt_u';
  /** Added to the index in each iteration; positive where the index goes up to the limit, negative where it goes down. */
  readonly step: number;
  /** What runs while the comparison holds. */
  readonly body: readonly Expression[];
};

/** A loop of the form `(loop $l … (br_if $l (i32.ne (local.tee $index (i32.add $index step)) limit)))`; a limit of 0 may be left out. */
type UntilLoop = {
  readonly form: 'until';
  readonly index: string;
  readonly limit: Expression;
  readonly step: 1 | -1;
  /** What runs before the index changes. */
  readonly body: readonly Expression[];
};

/** With larger steps the index could go past a limit that is near the end of its range, and begin anew. */
const largestStep = 1_024;

const mirrored: Readonly<Record<string, WhileLoop['compare']>> = {
  'i32.lt_s': 'i32.gt_s',
  'i32.lt_u': 'i32.gt_u',
  'i32.gt_s': 'i32.lt_s',
  'i32.gt_u': 'i32.lt_u',
};

/**
 * Reads a loop as one that counts, or answers null. The loop ends only when the comparison fails, or by a trap: every other way out, and every
 * other way back, makes it a loop of another kind: it would pay for what it does not do. So does an index or a limit that is set anywhere else.
 */
export function countedLoop(loop: readonly Expression[]): CountedLoop | null {
  return whileLoop(loop) ?? untilLoop(loop);
}

function whileLoop(loop: readonly Expression[]): WhileLoop | null {
  const [, label, conditional, ...rest] = loop;
  if (typeof label !== 'string' || !Array.isArray(conditional) || rest.length > 0) return null;
  const [keyword, condition, branch, ...otherwise] = conditional;
  if (keyword !== 'if' || keywordOf(branch) !== 'then' || !Array.isArray(branch) || otherwise.length > 0) return null;
  const body = branch.slice(1);
  const last = body.pop();
  if (!Array.isArray(last) || last.length !== 2 || last[0] !== 'br' || last[1] !== label) return null;
  if (leaves(body, new Set())) return null;
  for (const compared of bothWays(condition)) {
    const counted = countedBy(compared, body);
    if (counted !== null) return { form: 'while', ...counted, body };
  }
  return null;
}

function untilLoop(loop: readonly Expression[]): UntilLoop | null {
  const [, label, ...body] = loop;
  const last = body.pop();
  if (!Array.isArray(last) || last.length !== 3 || last[0] !== 'br_if' || last[1] !== label || leaves(body, new Set())) return null;
  const condition = last[2] ?? '';
  const [left = '', right = ''] = keywordOf(condition) === 'i32.ne' ? condition.slice(1) : [condition, ['i32.const', '0']];
  const [change, limit] = keywordOf(left) === 'local.tee' ? [left, right] : [right, left];
  const index = change[1];
  if (keywordOf(change) !== 'local.tee' || typeof index !== 'string' || settings(body, index) > 0) return null;
  const step = stepOf(change, index);
  if ((step !== 1 && step !== -1) || !staysAs(limit, body) || localOf(limit) === index) return null;
  return { form: 'until', index, limit, step, body };
}

type Comparison = { readonly compare: WhileLoop['compare']; readonly index: string; readonly limit: Expression };

/** A comparison read with either side as the index. */
function bothWays(condition: Expression | undefined): Comparison[] {
  if (!Array.isArray(condition) || condition.length !== 3) return [];
  const [keyword, left = '', right = ''] = condition;
  const mirror = typeof keyword === 'string' ? mirrored[keyword] : undefined;
  if (mirror === undefined) return [];
  const compare = mirrored[mirror];
  const [first, second] = [localOf(left), localOf(right)];
  return [
    ...(compare !== undefined && first !== null ? [{ compare, index: first, limit: right }] : []),
    ...(second !== null ? [{ compare: mirror, index: second, limit: left }] : []),
  ];
}

function countedBy({ compare, index, limit }: Comparison, body: readonly Expression[]): Omit<WhileLoop, 'form' | 'body'> | null {
  if (settings(body, index) !== 1) return null;
  const step = body.map((item) => stepOf(item, index)).find((found) => found !== null);
  if (step === undefined || step === null || step === 0 || Math.abs(step) > largestStep) return null;
  if (step > 0 !== compare.startsWith('i32.lt')) return null;
  if (!staysAs(limit, body)) return null;
  const constant = constantOf(limit);
  // By steps of one the index meets every limit; by larger ones it must not pass the end of its range.
  const isFar = constant !== null && Math.abs(constant) <= 0x7fff_ffff - largestStep && (constant >= largestStep || compare.endsWith('s'));
  if (Math.abs(step) !== 1 && !isFar) return null;
  return { compare, index, limit, step };
}

/** Whether a limit is the same in all iterations. */
function staysAs(limit: Expression, body: readonly Expression[]): boolean {
  const local = localOf(limit);
  return local === null ? constantOf(limit) !== null : settings(body, local) === 0;
}

function localOf(expression: Expression): string | null {
  const name = keywordOf(expression) === 'local.get' ? expression[1] : undefined;
  return typeof name === 'string' ? name : null;
}

function constantOf(expression: Expression | undefined): number | null {
  if (!Array.isArray(expression) || expression[0] !== 'i32.const' || typeof expression[1] !== 'string') return null;
  return /^-?\d+$/.test(expression[1]) ? Number(expression[1]) : null;
}

/** What `(local.set $index (i32.add (local.get $index) (i32.const step)))`, or the same with `local.tee`, adds; null of anything else. */
function stepOf(item: Expression, index: string): number | null {
  if (!Array.isArray(item) || (item[0] !== 'local.set' && item[0] !== 'local.tee') || item[1] !== index) return null;
  const sum = item[2];
  if (!Array.isArray(sum) || (sum[0] !== 'i32.add' && sum[0] !== 'i32.sub') || localOf(sum[1] ?? '') !== index) return null;
  const step = constantOf(sum[2]);
  return step === null || sum[0] === 'i32.add' ? step : -step;
}

/** How often a local is set below some expressions. */
function settings(list: readonly Expression[], local: string): number {
  let count = (list[0] === 'local.set' || list[0] === 'local.tee') && list[1] === local ? 1 : 0;
  for (const item of list) if (typeof item !== 'string') count += settings(item, local);
  return count;
}

/** Whether a branch below some expressions goes to a label outside of them, or a return leaves the function. */
function leaves(list: readonly Expression[], labels: ReadonlySet<string>): boolean {
  const [keyword, label] = list;
  if (keyword === 'return') return true;
  if (typeof keyword === 'string' && keyword.startsWith('br')) {
    for (const item of list.slice(1)) if (typeof item === 'string' && !labels.has(item)) return true;
  }
  const isLabelled = ['block', 'loop', 'if'].includes(typeof keyword === 'string' ? keyword : '') && typeof label === 'string';
  const inner = isLabelled ? new Set(labels).add(label) : labels;
  return list.some((item) => typeof item !== 'string' && leaves(item, inner));
}
