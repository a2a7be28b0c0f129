// What a device reports of itself: module table, memory map, programs and their statistics.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from './examples.ts';
import { Address, Digest, exampleIdentifier, ModuleName, ProgramId, Timestamp } from './identifiers.ts';

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

const ReportedProgramState = z.enum(['running', 'finished', 'stopped', 'failed']).meta({ id: 'ReportedProgramState' });

const VersionCalls = z.object({ version: z.string(), callsCompleted: count }).meta({ id: 'VersionCalls' });

/** What the threads of the example's program have done. */
export const exampleStatistics = {
  state: 'running',
  threads: 4,
  callsCompleted: 2_036,
  callsFailed: 0,
  accessesInterrupted: 4,
  accessesRetried: 4,
  effects: 0,
  lastFailure: null,
  lastResult: '39467',
  versions: [
    { version: exampleVersions.old.version, callsCompleted: 1_212 },
    { version: exampleVersions.new.version, callsCompleted: 824 },
  ],
} as const;

export const ProgramStatistics = z
  .object({
    program: ProgramId,
    state: ReportedProgramState,
    threads: count.describe('Threads that have not ended.'),
    callsCompleted: count,
    callsFailed: count.describe('Calls that ended in a trap or an error.'),
    accessesInterrupted: count,
    accessesRetried: count,
    effects: count.describe('Effects (`kernel.emit`) of completed calls; those of interrupted or failed calls are dropped.'),
    lastFailure: z.string().max(1_000).nullable(),
    lastResult: z.string().max(64).nullable().describe('What the last completed call returned, as decimal text.'),
    versions: z.array(VersionCalls).max(100).describe('Completed calls by the version that served them, oldest first.'),
  })
  .meta({ id: 'ReportedProgramStatistics', examples: [{ program: exampleIdentifier('program'), ...exampleStatistics }] });
export type ProgramStatistics = z.infer<typeof ProgramStatistics>;

const { old, new: next } = exampleVersions;

/** Both versions are in memory: the old one invalidated, the new one in the module table with four threads inside. */
export const exampleDeviceState = {
  at: exampleTimes.completed,
  moduleTable: [{ module: 'tcp', version: next.version, image: next.image, address: next.address, referenceCount: 4 }],
  memoryMap: {
    pageBytes: 4096,
    pages: 256,
    usedPages: 2,
    ranges: [exampleRange(old, true), exampleRange(next, false)],
  },
  programs: [{ program: exampleIdentifier('program'), ...exampleStatistics }],
};

function exampleRange({ address, pages, version }: typeof old | typeof next, nx: boolean) {
  return { address, pages, owner: { module: 'tcp', version }, present: true, valid: true, nx };
}

export const DeviceState = z
  .object({
    at: Timestamp,
    moduleTable: z.array(ModuleTableEntry),
    memoryMap: MemoryMap,
    programs: z.array(ProgramStatistics),
  })
  .meta({ id: 'DeviceState', examples: [exampleDeviceState] });
export type DeviceState = z.infer<typeof DeviceState>;
