// Safepoints: where an image gives up the processor, so that other threads run and an injected error finds a place to be thrown.

import { type Expression, expressions, keywordOf } from './expression.ts';

/**
 * Work between two safepoints of a loop, in expressions. Loops count it down in a local and visit the safepoint when it is used up: a check in
 * every iteration would cost 2 to 2.7 times on a tight loop, because V8 does not optimise a loop that contains a call.
 */
const loopBudget = 16_384;

/** What a call counts for in that budget: the callee visits a safepoint of its own at entry if it can take long. */
const callCost = 20;

/** The local that counts the budget down; one per function, shared by its loops. */
const budget = '$patchbay:budget';

/** The safepoint itself, which pays for so much work; `$patchbay:yield` is the function that `yieldFunction` defines. */
const safepoint = (cost: number) =>
  expressions(`
    (global.set $patchbay:fuel (i32.sub (global.get $patchbay:fuel) (i32.const ${cost})))
    (if (i32.lt_s (global.get $patchbay:fuel) (i32.const 0)) (then (call $patchbay:yield)))`);

/** The way out of a safepoint whose fuel is used up: the processor refills it, or takes the thread off. */
export const yieldFunction = () => expressions('(func $patchbay:yield (if (call $patchbay:tick) (then (call $patchbay:suspend))))');

/**
 * Adds safepoints to one function of the text format, in place: at the entry of every function that calls or loops, which bounds recursion and
 * chains of calls, and in every loop. A function without either ends by itself.
 */
export function addSafepoints(func: Expression[]): void {
  const start = bodyStart(func);
  const body = func.slice(start);
  const { calls, loops } = survey(body);
  if (!calls && !loops) return;
  const head = safepoint(callCost);
  if (loops) {
    func.splice(start, 0, ['local', budget, 'i32']);
    head.push(['local.set', budget, ['i32.const', String(loopBudget)]]);
    const labels = { next: 0 };
    for (const expression of body) instrumentLoops(expression, labels);
    func.splice(start + 1, 0, ...head);
  } else {
    func.splice(start, 0, ...head);
  }
}

/** Index of the first instruction of a `func`: after its name, type, parameters, results and locals. */
function bodyStart(func: readonly Expression[]): number {
  let index = 1;
  while (index < func.length) {
    const item = func[index];
    const isHead = typeof item === 'string' || ['type', 'param', 'result', 'local', 'export'].includes(keywordOf(item));
    if (!isHead) break;
    index += 1;
  }
  return index;
}

function survey(body: readonly Expression[]): { calls: boolean; loops: boolean } {
  const found = { calls: false, loops: false };
  const pending: Expression[] = [...body];
  for (let expression = pending.pop(); expression !== undefined; expression = pending.pop()) {
    if (typeof expression === 'string') continue;
    const keyword = keywordOf(expression);
    if (keyword.startsWith('call')) found.calls = true;
    if (isCycle(expression)) found.loops = true;
    for (const item of expression) pending.push(item);
  }
  return found;
}

/** A loop that nothing can branch back to has no label in the printed text and runs once. */
function isCycle(expression: readonly Expression[]): boolean {
  const label = expression[1];
  return expression[0] === 'loop' && typeof label === 'string' && label.startsWith('$');
}

/** Wraps every loop below an expression and returns what one pass through the expression costs. */
function instrumentLoops(expression: Expression, labels: { next: number }): number {
  if (typeof expression === 'string') return 0;
  let cost = keywordOf(expression).startsWith('call') ? callCost : 1;
  for (const item of expression) cost += instrumentLoops(item, labels);
  if (isCycle(expression)) wrapLoop(expression, Math.min(cost, loopBudget), `$patchbay:tile:${labels.next++}`);
  return cost;
}

/** `(loop $l body)` becomes `(loop $tile (if budget used up: safepoint) (loop $l (count down; if used up, to $tile) body))`. */
function wrapLoop(loop: Expression[], cost: number, tile: string): void {
  const label = loop[1] ?? '';
  let start = 2;
  while (['type', 'param', 'result'].includes(keywordOf(loop[start]))) start += 1;
  const signature = loop.slice(2, start);
  const countDown = expressions(`
    (br_if ${tile} (i32.lt_s (local.tee ${budget} (i32.sub (local.get ${budget}) (i32.const ${cost}))) (i32.const 0)))`);
  const inner: Expression[] = ['loop', label, ...signature, ...countDown, ...loop.slice(start)];
  const usedUp: Expression[] = [
    'if',
    ['i32.lt_s', ['local.get', budget], ['i32.const', '0']],
    ['then', ['local.set', budget, ['i32.const', String(loopBudget)]], ...safepoint(loopBudget)],
  ];
  loop.splice(0, loop.length, 'loop', tile, ...signature, usedUp, inner);
}
