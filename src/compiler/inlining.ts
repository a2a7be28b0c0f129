// Puts the access stubs into the loops that call them: V8 does so only where the caller is large, and a call costs as much as the rest of the stub.

import { type Expression, keywordOf } from './expression.ts';

/** Calls in one function that are replaced; a function of more grows too much. */
const siteLimit = 8;

/**
 * Replaces calls of the given functions by their bodies, in place, where the calls are in a loop.
 * @param callees Functions that do not call each other, return only at their ends, and do not count on their locals to be zero.
 */
export function inlineInLoops(functions: readonly Expression[][], callees: readonly Expression[]): void {
  const byName = new Map(callees.flatMap((callee) => (Array.isArray(callee) ? [[callee[1], partsOf(callee)] as const] : [])));
  for (const func of functions) {
    const locals: Expression[] = [];
    let sites = 0;
    const visit = (list: Expression[], inLoop: boolean): void => {
      const isLoop = inLoop || list[0] === 'loop';
      for (const item of list) if (typeof item !== 'string') visit(item, isLoop);
      const callee = isLoop && list[0] === 'call' ? byName.get(list[1] ?? '') : undefined;
      const values = list.slice(2);
      if (callee === undefined || sites === siteLimit || values.length !== callee.parameters.length) return;
      sites += 1;
      const { names, block } = atSite(callee, sites, values);
      locals.push(...names);
      list.splice(0, list.length, ...block);
    };
    visit(func, false);
    func.splice(headLength(func), 0, ...locals);
  }
}

type Parts = {
  /** Name and type of each. */
  readonly parameters: readonly (readonly [name: string, type: Expression])[];
  readonly locals: readonly (readonly [name: string, type: Expression])[];
  readonly results: readonly Expression[];
  readonly body: readonly Expression[];
};

function partsOf(func: readonly Expression[]): Parts {
  const head = func.slice(2, headLength(func));
  const named = (keyword: string) =>
    head.flatMap((item) =>
      Array.isArray(item) && item[0] === keyword && typeof item[1] === 'string' ? [[item[1], item[2] ?? ''] as const] : [],
    );
  return {
    parameters: named('param'),
    locals: named('local'),
    results: head.filter((item) => keywordOf(item) === 'result'),
    body: func.slice(headLength(func)),
  };
}

/** Where the instructions of a function begin. */
function headLength(func: readonly Expression[]): number {
  const first = func.findIndex((item, index) => index > 1 && !['export', 'type', 'param', 'result', 'local'].includes(keywordOf(item)));
  return first < 0 ? func.length : first;
}

/** The body, as a block with locals of its own: they are not zero at the beginning, as a function's are. */
function atSite(callee: Parts, site: number, values: readonly Expression[]): { names: Expression[]; block: Expression[] } {
  const rename = (name: string) => `$patchbay:site${site}:${name.slice(1)}`;
  const own = [...callee.parameters, ...callee.locals];
  const renamed = new Map(own.map(([name]) => [name, rename(name)]));
  const inBlock = (expression: Expression): Expression =>
    typeof expression === 'string' ? (renamed.get(expression) ?? expression) : expression.map(inBlock);
  const given = callee.parameters.map(([name], index): Expression => ['local.set', rename(name), values[index] ?? '']);
  return {
    names: own.map(([name, type]): Expression => ['local', rename(name), type]),
    block: ['block', ...callee.results, ...given, ...callee.body.map(inBlock)],
  };
}
