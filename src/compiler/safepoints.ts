// Safepoints: where an image gives up the processor, so that other threads run and an injected error finds a place to be thrown.

import { fuelExport } from '../machine/abi.ts';
import { type Expression, expressions, keywordOf } from './expression.ts';

/**
 * Work between two safepoints of a loop, in expressions: some tens of microseconds. Loops count their iterations down in a local and visit the
 * safepoint at zero: a check in every iteration would cost 2 to 2.7 times on a tight loop, because V8 does not optimise a loop that contains a call.
 */
const loopBudget = 131_072;

/** What of it the loops of a function may use before their first safepoint: a function that loops a little never visits one. */
const firstBudget = 512;

/** The work that a function may do without a safepoint at its entry. */
const entryLimit = 8_192;

/** What a call counts for whose callee is not known here: it has safepoints of its own if it does much. */
const unknownCallCost = 500;

/** Levels of a recursion for one safepoint, and how large a function may be to be copied for it. */
const recursionLevels = 8;
const copyLimit = 400;

/** Iterations of a small inner loop for one count, and how much work one iteration may be. */
const unrolledIterations = 4;
const unrollLimit = 64;

/**
 * The image's own count of work until it next asks the processor: the processor's clock is looked at when it is used up. A count of the image's
 * own, for V8 reaches it at half the cost of an imported one; it is exported, so that the processor can make a thread ask at once.
 */
export const fuelDeclarations = () =>
  expressions(`
    (global $patchbay:fuel (mut i32) (i32.const 0))
    (export "${fuelExport}" (global $patchbay:fuel))
    (func $patchbay:yield
      (local $fuel i32)
      (local.set $fuel (call $patchbay:tick))
      (if (i32.lt_s (local.get $fuel) (i32.const 0)) (then (call $patchbay:suspend) (local.set $fuel (i32.const 0))))
      (global.set $patchbay:fuel (local.get $fuel)))`);

/** The safepoint itself, which pays for so much work. */
const safepoint = (cost: number) =>
  expressions(`
    (if (i32.lt_s (global.get $patchbay:fuel) (i32.const ${cost}))
      (then (call $patchbay:yield))
      (else (global.set $patchbay:fuel (i32.sub (global.get $patchbay:fuel) (i32.const ${cost})))))`);

/** What one function does, as far as its text tells. */
type Survey = {
  readonly func: Expression[];
  /** Names of the module's own functions that it calls. */
  readonly callees: ReadonlySet<string>;
  readonly hasLoop: boolean;
  readonly isRecursive: boolean;
};

/**
 * Adds safepoints to a module's functions, in place, and answers the functions to be added: in every loop; at the entry of functions that call
 * themselves, at every fourth level; and at the entry of those that may do much without looping. All other work is bounded by its text.
 */
export function addSafepoints(functions: readonly Expression[][]): Expression[][] {
  const surveys = surveyAll(functions);
  const costs = new Map<string, number>();
  const costOf = (name: string): number => {
    const survey = surveys.get(name);
    if (survey === undefined) return unknownCallCost;
    const known = costs.get(name);
    if (known !== undefined) return known;
    const own = bodyOf(survey.func).reduce(
      (sum: number, item) => sum + workOf(item, survey.isRecursive ? () => unknownCallCost : costOf),
      0,
    );
    const cost = Math.min(own + (survey.hasLoop ? firstBudget : 0), entryLimit);
    costs.set(name, cost);
    return cost;
  };
  for (const name of surveys.keys()) costOf(name);
  return [...surveys].flatMap(([name, survey]) => {
    const cost = costs.get(name) ?? entryLimit;
    const copies = survey.isRecursive ? copyLevels(name, survey) : [];
    for (const func of [survey.func, ...copies]) addLoopSafepoints(func, survey, costOf);
    if (survey.isRecursive) insertFirst(survey.func, safepoint(cost * recursionLevels));
    else if (cost >= entryLimit) insertFirst(survey.func, safepoint(cost));
    return copies;
  });
}

function surveyAll(functions: readonly Expression[][]): Map<string, Survey> {
  const callees = new Map(functions.map((func) => [nameOf(func), calleesOf(func)]));
  return new Map(
    functions.map((func) => {
      const name = nameOf(func);
      const isRecursive = reaches(name, name, callees);
      return [name, { func, callees: callees.get(name) ?? new Set(), hasLoop: some(func, isCycle), isRecursive }];
    }),
  );
}

const nameOf = (func: readonly Expression[]) => (typeof func[1] === 'string' ? func[1] : '');

function calleesOf(func: readonly Expression[]): Set<string> {
  const names = new Set<string>();
  some(func, (expression) => {
    if (expression[0] === 'call' && typeof expression[1] === 'string') names.add(expression[1]);
    return false;
  });
  return names;
}

/** Whether a chain of the module's own calls leads from one function to another. */
function reaches(from: string, to: string, callees: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const seen = new Set<string>();
  const pending = [...(callees.get(from) ?? [])];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === to) return true;
    if (seen.has(name)) continue;
    seen.add(name);
    pending.push(...(callees.get(name) ?? []));
  }
  return false;
}

function some(root: readonly Expression[], test: (expression: readonly Expression[]) => boolean): boolean {
  const pending: Expression[] = [...root];
  for (let expression = pending.pop(); expression !== undefined; expression = pending.pop()) {
    if (typeof expression === 'string') continue;
    if (test(expression)) return true;
    for (const item of expression) pending.push(item);
  }
  return false;
}

/** Expressions below one, and the costs of its calls. */
function workOf(expression: Expression, costOf: (name: string) => number): number {
  if (typeof expression === 'string') return 0;
  let work = callCost(expression, costOf);
  for (const item of expression) work += workOf(item, costOf);
  return work;
}

function callCost(expression: readonly Expression[], costOf: (name: string) => number): number {
  const keyword = keywordOf([...expression]);
  if (keyword === 'call') return costOf(typeof expression[1] === 'string' ? expression[1] : '');
  return keyword.startsWith('call') ? unknownCallCost : 1;
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

const bodyOf = (func: readonly Expression[]) => func.slice(bodyStart(func));

function insertFirst(func: Expression[], items: readonly Expression[]): void {
  func.splice(bodyStart(func), 0, ...items);
}

/**
 * Copies a function that calls itself, so that only the first of some levels of the recursion has the safepoint: the function calls its first
 * copy, each copy the next, and the last the function again.
 */
function copyLevels(name: string, { func, callees }: Survey): Expression[][] {
  if (!callees.has(name) || workOf(func, () => 1) > copyLimit) return [];
  const levels = [name, ...Array.from({ length: recursionLevels - 1 }, (_, index) => `$patchbay:level${index + 1}:${name.slice(1)}`)];
  const copies = levels.slice(1).map((level, index) => {
    const copy = withCalls(func, name, levels[(index + 2) % recursionLevels] ?? name);
    copy[1] = level;
    return copy;
  });
  const first = withCalls(func, name, levels[1] ?? name);
  func.splice(0, func.length, ...first);
  return copies;
}

/** A copy of a list in which calls of one function are calls of another. */
function withCalls(list: readonly Expression[], from: string, to: string): Expression[] {
  if (list[0] === 'call' && list[1] === from)
    return ['call', to, ...list.slice(2).map((item) => (typeof item === 'string' ? item : withCalls(item, from, to)))];
  return list.map((item) => (typeof item === 'string' ? item : withCalls(item, from, to)));
}

/** What is left of the work until the next safepoint of a function's loops: one local for all of them, for V8 has few registers. */
const leftLocal = '$patchbay:left';

function addLoopSafepoints(func: Expression[], { hasLoop }: Survey, costOf: (name: string) => number): void {
  if (!hasLoop) return;
  const loops = { count: 0 };
  for (const expression of bodyOf(func)) instrumentLoops(expression, costOf, loops);
  insertFirst(func, expressions(`(local ${leftLocal} i32) (local.set ${leftLocal} (i32.const ${firstBudget}))`));
}

/** A loop that nothing can branch back to has no label in the printed text and runs once. */
function isCycle(expression: readonly Expression[]): boolean {
  const label = expression[1];
  return expression[0] === 'loop' && typeof label === 'string' && label.startsWith('$');
}

/** Wraps every loop below an expression and returns what one pass through the expression costs. */
function instrumentLoops(expression: Expression, costOf: (name: string) => number, loops: { count: number }): number {
  if (typeof expression === 'string') return 0;
  const outer = loops.count;
  let cost = callCost(expression, costOf);
  for (const item of expression) cost += instrumentLoops(item, costOf, loops);
  if (isCycle(expression)) {
    const isSmall = loops.count === outer && cost <= unrollLimit;
    loops.count += 1;
    wrapLoop(expression, isSmall ? cost * unrolledIterations : cost, isSmall);
  }
  return cost;
}

/**
 * `(loop $l body)` becomes
 * `(block $exit (loop $tile (block $pause (loop $l (count the work; if none is left, to $pause) body) to $exit) safepoint, to $tile))`.
 * A small loop's body is written several times, with the count before the last of them: so one count serves several iterations, and a loop of fewer
 * is not counted at all.
 */
function wrapLoop(loop: Expression[], work: number, isSmall: boolean): void {
  const label = typeof loop[1] === 'string' ? loop[1] : '';
  let start = 2;
  while (['type', 'param', 'result'].includes(keywordOf(loop[start]))) start += 1;
  const signature = loop.slice(2, start);
  const body = loop.slice(start);
  const named = (name: string) => `$patchbay:${name}:${label.slice(1)}`;
  const [exit, tile, pause] = [named('exit'), named('tile'), named('pause')];
  // The hint tells V8 that the way to the safepoint is seldom taken, so that it keeps that way's code and its registers out of the loop.
  const count = expressions(
    `(@metadata.code.branch_hint "\\00") (br_if ${pause} (i32.le_s (local.tee ${leftLocal} (i32.sub (local.get ${leftLocal}) (i32.const ${work}))) (i32.const 0)))`,
  );
  const copies = isSmall ? copyIterations(label, exit, body) : [];
  const inner: Expression[] = ['loop', label, ...signature, ...copies, ...count, ...body];
  const resume: Expression[] = [['local.set', leftLocal, ['i32.const', String(loopBudget)]], ...safepoint(loopBudget), ['br', tile]];
  loop.splice(0, loop.length, 'block', exit, ...signature, ['loop', tile, ...signature, ['block', pause, inner, 'br', exit], ...resume]);
}

/** The body for all iterations but the last: to begin the next iteration is to leave the block of this one, and to end is to leave the loop. */
function copyIterations(label: string, exit: string, body: readonly Expression[]): Expression[] {
  return Array.from({ length: unrolledIterations - 1 }, (_, index) => {
    const next = `$patchbay:next${index}:${label.slice(1)}`;
    return ['block', next, ...body.map((item) => withBranches(item, label, next)), 'br', exit];
  });
}

/** A copy of an expression in which branches to one label go to another. */
function withBranches(expression: Expression, from: string, to: string): Expression {
  if (typeof expression === 'string') return expression;
  const isBranch = keywordOf(expression).startsWith('br');
  return expression.map((item) => (typeof item === 'string' ? (isBranch && item === from ? to : item) : withBranches(item, from, to)));
}
