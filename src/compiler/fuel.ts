// The fuel of an image: its own count of work until it next asks the processor, which looks at the clock when the fuel is used up.

import type { StubFunction } from './access-stub.ts';
import { call, end, globalSet, i32Const, ifBlock, localGet, localSet, localTee, plain } from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import type { Global } from './binary/module.ts';
import { functionPlaceholders, globalPlaceholders } from './placeholders.ts';

/** Work of a resumed thread, in instructions, before it looks at the clock: some microseconds. */
const firstWork = 16_384;

/**
 * The global that counts. It is the image's own, for V8 reaches it at half the cost of an imported one; it is exported, so that the processor can
 * make a thread ask at once.
 */
export const fuelGlobal: Global = { type: { value: 'i32', mutable: true }, init: encodeInstructions([i32Const(0)]).body };

/** The function that a safepoint calls when the fuel is negative. */
export function createYieldFunction(): StubFunction {
  const fuel = 0;
  const body = [
    call(functionPlaceholders.tick),
    localTee(fuel),
    i32Const(0),
    plain('i32.lt_s'),
    ifBlock(),
    call(functionPlaceholders.suspend),
    i32Const(firstWork),
    localSet(fuel),
    end,
    localGet(fuel),
    globalSet(globalPlaceholders.fuel),
  ];
  return { type: { parameters: [], results: [] }, locals: ['i32'], body };
}
