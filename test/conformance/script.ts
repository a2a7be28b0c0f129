// Reads a script of the WebAssembly test suite, converted by `wast2json`: a JSON file of commands, and the modules that they name.

import { readFile } from 'node:fs/promises';
import { z } from 'zod';

const Value = z.object({
  type: z.string(),
  lane_type: z.string().optional(),
  /** Decimal bit pattern, `nan:canonical` or `nan:arithmetic`; a vector has one for each lane. */
  value: z.union([z.string(), z.array(z.string())]).optional(),
});
const Action = z.object({
  type: z.enum(['invoke', 'get']),
  module: z.string().optional(),
  field: z.string(),
  args: z.array(Value).default([]),
});
const line = z.number();
const module = { filename: z.string(), line };
const Command = z.discriminatedUnion('type', [
  z.object({ type: z.literal('module'), name: z.string().optional(), ...module }),
  z.object({ type: z.literal('register'), name: z.string().optional(), as: z.string(), line }),
  z.object({ type: z.literal('action'), action: Action, line }),
  z.object({
    type: z.literal('assert_return'),
    action: Action,
    expected: z.array(Value).optional(),
    /** Alternative results that the specification allows. */
    either: z.array(Value).optional(),
    line,
  }),
  z.object({ type: z.literal('assert_trap'), action: Action, text: z.string(), line }),
  z.object({ type: z.literal('assert_exhaustion'), action: Action, text: z.string(), line }),
  z.object({ type: z.literal('assert_invalid'), ...module }),
  z.object({ type: z.literal('assert_malformed'), ...module }),
  z.object({ type: z.literal('assert_unlinkable'), ...module }),
  z.object({ type: z.literal('assert_uninstantiable'), ...module }),
]);
const Script = z.object({ commands: z.array(Command) });

export type Value = z.infer<typeof Value>;
export type Action = z.infer<typeof Action>;
export type Command = z.infer<typeof Command>;

/** Reads the commands of a script. @throws {ZodError} if a command has an unknown type. */
export async function readScript(path: string): Promise<Command[]> {
  return Script.parse(JSON.parse(await readFile(path, 'utf8'))).commands;
}
