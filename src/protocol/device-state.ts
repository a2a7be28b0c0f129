// What a device reports of itself: module table, memory map, programs and their statistics.

import { z } from 'zod';
import { Address, Digest, ModuleName, ProgramId, Timestamp } from './identifiers.ts';

const count = z.int().nonnegative();

export const ModuleTableEntry = z
  .object({
    module: ModuleName,
    version: z.string(),
    image: Digest,
    address: Address,
    referenceCount: count.describe('Accesses that are inside this version now.'),
  })
  .meta({ id: 'ModuleTableEntry' });
export type ModuleTableEntry = z.infer<typeof ModuleTableEntry>;

const MemoryRange = z
  .object({
    address: Address,
    pages: count,
    owner: z.object({ module: ModuleName, version: z.string() }),
    present: z.boolean(),
    valid: z.boolean(),
    nx: z.boolean(),
  })
  .meta({ id: 'MemoryRange' });

export const MemoryMap = z
  .object({
    pageBytes: z.literal(4096),
    pages: count,
    usedPages: count,
    ranges: z.array(MemoryRange),
  })
  .meta({ id: 'MemoryMap' });
export type MemoryMap = z.infer<typeof MemoryMap>;

const ProgramState = z.enum(['running', 'finished', 'stopped', 'failed']);

export const ProgramStatistics = z
  .object({
    program: ProgramId,
    state: ProgramState,
    threads: count.describe('Threads that have not ended.'),
    callsCompleted: count,
    callsFailed: count.describe('Calls that ended in a trap or an error.'),
    accessesInterrupted: count,
    accessesRetried: count,
    effects: count.describe('Effects (`kernel.emit`) of completed calls; those of interrupted or failed calls are dropped.'),
    lastFailure: z.string().max(1_000).nullable(),
    lastResult: z.string().max(64).nullable().describe('What the last completed call returned, as decimal text.'),
    versions: z
      .array(z.object({ version: z.string(), callsCompleted: count }))
      .max(100)
      .describe('Completed calls by the version that served them, oldest first.'),
  })
  .meta({ id: 'ProgramStatistics' });
export type ProgramStatistics = z.infer<typeof ProgramStatistics>;

export const DeviceState = z
  .object({
    at: Timestamp,
    moduleTable: z.array(ModuleTableEntry),
    memoryMap: MemoryMap,
    programs: z.array(ProgramStatistics),
  })
  .meta({ id: 'DeviceState' });
export type DeviceState = z.infer<typeof DeviceState>;
