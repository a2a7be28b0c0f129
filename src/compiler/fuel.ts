// The fuel of an image: the work left until it calls the processor, which checks the clock when the fuel runs out.

import type { StubFunction } from './access-stub.ts';
import { call, end, globalSet, i32Const, ifBlock, localGet, localSet, localTee, plain } from './binary/instruction.ts';
import { encodeInstructions } from './binary/instruction-codec.ts';
import type { Global } from './binary/module.ts';
import { functionPlaceholders, globalPlaceholders } from './placeholders.ts';

/** Fuel of a resumed thread until its first clock check, in units of work: some microseconds. */
const resumedFuel = 16_384;

/**
 * The fuel global. It belongs to the image, because V8 accesses an own global at half the cost of an imported one. It is exported, so that the
 * processor can stop a thread at its next safepoint.
 */
export const fuelGlobal: Global = { type: { value: 'i32', mutable: true }, init: encodeInstructions([i32Const(0)]).body };

/** Creates the function that a safepoint calls when the fuel is negative. */
export function createYieldFunction(): StubFunction {
  const fuel = 0;
  const body = [
    call(functionPlaceholders.tick),
    localTee(fuel),
    i32Const(0),
    plain('i32.lt_s'),
    ifBlock(),
    call(functionPlaceholders.suspend),
    i32Const(resumedFuel),
    localSet(fuel),
    end,
    localGet(fuel),
    globalSet(globalPlaceholders.fuel),
  ];
  return { type: { parameters: [], results: [] }, locals: ['i32'], body };
}
