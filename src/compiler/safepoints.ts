// Safepoints: where an image gives up the processor, so that other threads run and an injected error finds a place to be thrown.

import { fuelExport } from '../machine/abi.ts';
import { type CountedLoop, countedLoop } from './counted-loop.ts';
import { type Expression, expressions, keywordOf, printExpression } from './expression.ts';

/** Most work that a loop that counts pays for at once, in expressions: some tens of microseconds. */
const stretchWork = 131_072;

/** Work that a thread may do, in expressions, when it has got the processor again and before it looks at the clock: some microseconds. */
const firstWork = 16_384;

/** The work that a function may do without a safepoint at its entry. */
const entryLimit = 8_192;

/** What a call counts for whose callee is not known here: it has safepoints of its own if it does much. */
const unknownCallCost = 500;

/** Levels of a recursion for one safepoint, and how large a function may be to be copied for it. */
const recursionLevels = 8;
const copyLimit = 400;

/** Iterations of a loop that are paid for together, and how much work one of them may be. */
const paidTogether = [
  { iterations: 4, limit: 24 },
  { iterations: 2, limit: 64 },
] as const;

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
      (if (i32.lt_s (local.get $fuel) (i32.const 0)) (then (call $patchbay:suspend) (local.set $fuel (i32.const ${firstWork}))))
      (global.set $patchbay:fuel (local.get $fuel)))`);

/**
 * The safepoint itself, which pays for so much work. The image's count is one word of memory, which a register need not be kept for; and the hint
 * tells V8 that the way to the processor is seldom taken, so that it keeps that way's code out of the loop.
 */
const safepoint = (work: string) =>
  expressions(`
    (global.set $patchbay:fuel (i32.sub (global.get $patchbay:fuel) ${work}))
    (@metadata.code.branch_hint "\\00")
    (if (i32.lt_s (global.get $patchbay:fuel) (i32.const 0)) (then (call $patchbay:yield)))`);

const constant = (value: number) => `(i32.const ${value})`;

/** What one function does, as far as its text tells. */
type Survey = {
  readonly func: Expression[];
  /** Names of the module's own functions that it calls. */
  readonly callees: ReadonlySet<string>;
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
    const cost = Math.min(own, entryLimit);
    costs.set(name, cost);
    return cost;
  };
  for (const name of surveys.keys()) costOf(name);
  return [...surveys].flatMap(([name, survey]) => {
    const cost = costs.get(name) ?? entryLimit;
    const copies = survey.isRecursive ? copyLevels(name, survey) : [];
    for (const func of [survey.func, ...copies]) addToLoops(func, costOf);
    if (survey.isRecursive) insertFirst(survey.func, safepoint(constant(cost * recursionLevels)));
    else if (cost >= entryLimit) insertFirst(survey.func, safepoint(constant(cost)));
    return copies;
  });
}

function surveyAll(functions: readonly Expression[][]): Map<string, Survey> {
  const callees = new Map(functions.map((func) => [nameOf(func), calleesOf(func)]));
  return new Map(
    functions.map((func) => {
      const name = nameOf(func);
      const isRecursive = reaches(name, name, callees);
      return [name, { func, callees: callees.get(name) ?? new Set(), isRecursive }];
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

/** Work of one pass through an expression that no safepoint in it pays for: the expressions below it, and the costs of its calls. */
function workOf(expression: Expression, costOf: (name: string) => number): number {
  if (typeof expression === 'string') return 0;
  let work = callCost(expression, costOf);
  for (const item of expression) work += workOf(item, costOf);
  return isCycle(expression) ? work * iterationsPaid(work) : work;
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

function addToLoops(func: Expression[], costOf: (name: string) => number): void {
  const locals: string[] = [];
  for (const expression of bodyOf(func)) addLoopSafepoints(expression, costOf, locals);
  insertFirst(
    func,
    locals.map((name) => ['local', name, 'i32']),
  );
}

/** A loop that nothing can branch back to has no label in the printed text and runs once. */
function isCycle(expression: readonly Expression[]): boolean {
  const label = expression[1];
  return expression[0] === 'loop' && typeof label === 'string' && label.startsWith('$');
}

const iterationsPaid = (work: number) => paidTogether.find(({ limit }) => work <= limit)?.iterations ?? 1;

/** Gives every loop below an expression its safepoints, and returns the work of one pass through it; adds the locals that they need. */
function addLoopSafepoints(expression: Expression, costOf: (name: string) => number, locals: string[]): number {
  if (typeof expression === 'string') return 0;
  let work = callCost(expression, costOf);
  for (const item of expression) work += addLoopSafepoints(item, costOf, locals);
  if (!isCycle(expression)) return work;
  const counted = countedLoop(expression);
  if (counted === null) payByIterations(expression, work);
  else locals.push(payByStretches(expression, counted, work));
  return work * iterationsPaid(work);
}

/**
 * `(loop $l body)` becomes `(block $exit (loop $l (block $next body, to $exit) safepoint, body))`, with as many copies of the body as iterations are
 * paid for together; a loop of fewer iterations pays for none.
 */
function payByIterations(loop: Expression[], work: number): void {
  const label = typeof loop[1] === 'string' ? loop[1] : '';
  let start = 2;
  while (['type', 'param', 'result'].includes(keywordOf(loop[start]))) start += 1;
  const signature = loop.slice(2, start);
  const body = loop.slice(start);
  const exit = `$patchbay:exit:${label.slice(1)}`;
  const iterations = iterationsPaid(work);
  const copies = copyIterations(iterations - 1, label, exit, body);
  const paid: Expression[] = ['loop', label, ...signature, ...copies, ...safepoint(constant(work * iterations)), ...body];
  if (iterations === 1) loop.splice(0, loop.length, ...paid);
  else loop.splice(0, loop.length, 'block', exit, ...signature, paid);
}

/**
 * A loop that counts does so in stretches (strip mining), each paid for before it begins, and nothing is added to its iterations:
 * `(loop $stretch (if (compare $index limit) (then (set $stop to the limit, or to what comes before it) safepoint, (loop $l … $stop …), to $stretch)))`,
 * or, where it tests last, `(loop $stretch (set $stop …) safepoint, (loop $l … $stop …) (if $index is not $limit, to $stretch))`.
 * Answers the local that it needs.
 */
function payByStretches(loop: Expression[], counted: CountedLoop, work: number): string {
  const label = typeof loop[1] === 'string' ? loop[1] : '';
  const [stretch, stop] = [`$patchbay:stretch:${label.slice(1)}`, `$patchbay:stop:${label.slice(1)}`];
  const { form, index, limit, step, body } = counted;
  const preparation = prepareStretch(counted, work, stop);
  const indexNow: Expression = ['local.get', index];
  const stopNow: Expression = ['local.get', stop];
  if (form === 'while') {
    const inner: Expression[] = ['loop', label, ['if', [counted.compare, indexNow, stopNow], ['then', ...body, ['br', label]]]];
    loop.splice(0, loop.length, 'loop', stretch, [
      'if',
      [counted.compare, indexNow, limit],
      ['then', ...preparation, inner, ['br', stretch]],
    ]);
  } else {
    const change: Expression = ['local.tee', index, ['i32.add', indexNow, ['i32.const', String(step)]]];
    const inner: Expression[] = ['loop', label, ...body, ['br_if', label, ['i32.ne', change, stopNow]]];
    loop.splice(0, loop.length, 'loop', stretch, ...preparation, inner, ['br_if', stretch, ['i32.ne', indexNow, limit]]);
  }
  return stop;
}

/** Sets `stop` to where the next stretch ends, and pays for it. A loop that tests last does one iteration more than there are steps between. */
function prepareStretch({ form, index, limit, step }: CountedLoop, work: number, stop: string): Expression[] {
  const workOfOne = Math.ceil(work / Math.abs(step));
  const longest = Math.max(1, Math.floor(stretchWork / workOfOne));
  const [from, to, length] = [`(local.get ${index})`, printExpression(limit), `(local.get ${stop})`];
  const distance = step > 0 ? `(i32.sub ${to} ${from})` : `(i32.sub ${from} ${to})`;
  const shorten = (most: number) => `(if (i32.gt_u ${length} ${constant(most)}) (then (local.set ${stop} ${constant(most)})))`;
  const measure =
    form === 'while'
      ? `(local.set ${stop} ${distance}) ${shorten(longest)}`
      : `(local.set ${stop} (i32.sub ${distance} (i32.const 1))) ${shorten(longest - 1)} (local.set ${stop} (i32.add ${length} (i32.const 1)))`;
  return [
    ...expressions(measure),
    ...safepoint(`(i32.mul ${length} ${constant(workOfOne)})`),
    ['local.set', stop, ...expressions(`(${step > 0 ? 'i32.add' : 'i32.sub'} ${from} ${length})`)],
  ];
}

/** The body for all iterations but the last: to begin the next iteration is to leave the block of this one, and to end is to leave the loop. */
function copyIterations(count: number, label: string, exit: string, body: readonly Expression[]): Expression[] {
  return Array.from({ length: count }, (_, index) => {
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
