// Converts a program to the content of a start order.

import { ProgramOrder } from '../../protocol/agent.ts';
import type { ProgramRecord } from './repository.ts';

/** Returns a program in the form of the wire protocol. */
export function toProgramOrder(program: ProgramRecord): ProgramOrder {
  return ProgramOrder.parse({
    program: program.id,
    name: program.name,
    driver: program.driverDigest,
    module: program.module,
    export: program.export,
    type: program.type,
    arguments: program.arguments,
    threads: program.threads,
    calls: program.calls === null ? null : Number(program.calls),
    pauseMilliseconds: program.pauseMilliseconds,
    recovery: program.recovery,
    addressing: program.addressing,
    deadlineMilliseconds: program.deadlineMilliseconds,
  });
}
