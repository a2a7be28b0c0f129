// The state that a device reports: module table, memory map, programs and their statistics.

import { z } from 'zod';
import { exampleTimes, exampleVersions } from './examples.ts';
import { Address, Digest, exampleIdentifier, LoadId, ModuleName, ProgramId, Reason, Timestamp, Version } from './identifiers.ts';
import { Latency } from './latency.ts';
import { tainted } from './taint.ts';

const count = z.int().nonnegative();

/** Limits of one state. A device has up to 65,536 pages of memory; each range and each module takes one or more pages. */
const stateLimits = { modules: 65_536, ranges: 65_536, programs: 10_000, drainingPrograms: 1_000 } as const;

export const ModuleTableEntry = z
  .object({
    module: ModuleName,
    version: Version,
    image: Digest,
    address: Address,
    referenceCount: count.describe('Number of accesses inside this version now.'),
    tainted,
  })
  .meta({ id: 'ModuleTableEntry' });
export type ModuleTableEntry = z.infer<typeof ModuleTableEntry>;

const MemoryRange = z
  .object({
    address: Address,
    pages: count,
    owner: z.object({ module: ModuleName, version: Version }),
    present: z.boolean(),
    valid: z.boolean(),
    nx: z.boolean(),
    reclaimable: z
      .boolean()
      .optional()
      .describe(
        'Whether the device can reclaim these pages for another image: nothing executes in them and no program holds their address. Omitted by devices that do not reclaim pages.',
      ),
  })
  .meta({ id: 'MemoryRange' });

export const MemoryMap = z
  .object({
    pageBytes: z.literal(4096),
    pages: count,
    usedPages: count,
    ranges: z.array(MemoryRange).max(stateLimits.ranges),
  })
  .meta({ id: 'MemoryMap' });
export type MemoryMap = z.infer<typeof MemoryMap>;

/** Final states of a program. */
export const endedProgramStates = ['finished', 'stopped', 'failed'] as const;
const ReportedProgramState = z.enum(['running', ...endedProgramStates]).meta({ id: 'ReportedProgramState' });

const VersionStatistics = z
  .object({
    version: Version.describe('Empty for calls that failed before any version was entered.'),
    callsCompleted: count,
    callsFailed: count.default(0),
    latency: Latency.default({ microseconds: [], calls: [] }).describe(
      'Duration of completed calls from start to end. Empty if no call was measured.',
    ),
  })
  .meta({ id: 'ReportedVersionStatistics' });

/** Statistics of the program in the examples. */
export const exampleStatistics = {
  state: 'running',
  threads: 4,
  callsCompleted: 2_036,
  callsFailed: 0,
  faults: 0,
  accessesInterrupted: 4,
  accessesRetried: 4,
  effects: 0,
  lastFailure: null,
  lastResult: '39467',
  versions: [
    {
      version: exampleVersions.old.version,
      callsCompleted: 1_212,
      callsFailed: 0,
      latency: { microseconds: [2, 3, 38], calls: [720, 490, 2] },
    },
    {
      version: exampleVersions.new.version,
      callsCompleted: 824,
      callsFailed: 0,
      latency: { microseconds: [2, 3, 5], calls: [310, 511, 3] },
    },
  ],
};

export const ProgramStatistics = z
  .object({
    program: ProgramId,
    state: ReportedProgramState,
    threads: count.describe('Number of threads that have not ended.'),
    callsCompleted: count,
    callsFailed: count.describe('Number of calls that ended with a trap or an error.'),
    faults: count.default(0).describe('Number of failed calls that ended with a segmentation fault.'),
    accessesInterrupted: count,
    accessesRetried: count,
    effects: count.describe('Number of effects (`kernel.emit`) of completed calls. Effects of interrupted or failed calls are dropped.'),
    lastFailure: Reason.nullable(),
    lastResult: z.string().max(64).nullable().describe('Result of the last completed call, as decimal text.'),
    versions: z
      .array(VersionStatistics)
      .max(100)
      .describe(
        'Calls by the version that served them, in the order in which the program first called the versions. A failed call counts for the version that it was inside.',
      ),
  })
  .meta({ id: 'ReportedProgramStatistics', examples: [{ program: exampleIdentifier('program'), ...exampleStatistics }] });
export type ProgramStatistics = z.infer<typeof ProgramStatistics>;

/** Maximum number of violations in one state. */
const violationLimit = 1_000;

/** Why a fetch from a page faulted. */
export const PageFault = z.enum(['not-present', 'invalid', 'nx']).meta({ id: 'PageFault' });

const { old, new: next } = exampleVersions;

/** The program with the stale address of the old version faults on each of its calls. */
export const exampleViolation = {
  program: exampleIdentifier('program'),
  module: 'tcp',
  version: old.version,
  address: old.address,
  page: 1,
  flag: 'nx',
  at: exampleTimes.completed,
  lastAt: exampleTimes.faulted,
  faults: 17,
} as const;

/** A finding of the ABI test: a program called removed code at a stale address. */
export const AbiViolation = z
  .object({
    program: ProgramId,
    module: ModuleName,
    version: Version.describe('The version that the stale address belonged to.'),
    address: Address,
    page: count.max(65_535).describe('Number of the page that contains the address.'),
    flag: PageFault.describe('Why the fetch faulted.'),
    at: Timestamp.describe('When the program first faulted at the address.'),
    lastAt: Timestamp.describe('When the program last faulted at the address.'),
    faults: z.int().positive().describe('Number of faults of the program at the address.'),
  })
  .meta({ id: 'ReportedAbiViolation', examples: [exampleViolation] });
export type AbiViolation = z.infer<typeof AbiViolation>;

const AbiViolations = z
  .object({
    total: count.describe('Number of violations since the device booted, including those that are no longer listed.'),
    newest: z.array(AbiViolation).max(violationLimit).describe('The violations with the most recent faults.'),
  })
  .meta({ id: 'ReportedAbiViolations' });

/** A drain in examples: two threads are still inside the old version. */
export const exampleDrain = {
  load: exampleIdentifier('load'),
  operation: 250,
  module: 'tcp',
  previousVersion: old.version,
  accesses: 2,
  programs: [{ program: exampleIdentifier('program'), threads: 2 }],
  waitedMilliseconds: 12_400,
} as const;

/** A load that waits for the accesses inside the old version to exit. */
export const Drain = z
  .object({
    load: LoadId,
    operation: z.literal(250).describe('The operation of FIG. 2 at which the load waits.'),
    module: ModuleName.describe('The module that they are inside. Of a patch set: the member with the maximum number of accesses inside.'),
    previousVersion: Version.describe('The version of that module that the accesses are still inside.'),
    accesses: count.describe('Number of accesses still inside; in a patch set, of all members.'),
    programs: z
      .array(z.object({ program: ProgramId, threads: count }).meta({ id: 'DrainingProgram' }))
      .max(stateLimits.drainingPrograms)
      .describe('Programs with accesses inside, and the number of their threads there. The first 1,000.'),
    waitedMilliseconds: count
      .max(2 ** 31 - 1)
      .describe('How long the load has waited when the state was taken, in milliseconds of a monotonic clock of the device.'),
  })
  .meta({ id: 'ReportedDrain', examples: [exampleDrain] });
export type Drain = z.infer<typeof Drain>;

/** Both versions are in memory: the old one invalidated, the new one in the module table with four threads inside. */
export const exampleDeviceState = {
  sequence: 12,
  at: exampleTimes.completed,
  moduleTable: [{ module: 'tcp', version: next.version, image: next.image, address: next.address, referenceCount: 4, tainted: null }],
  memoryMap: {
    pageBytes: 4096,
    pages: 256,
    usedPages: 2,
    ranges: [exampleRange(old, true), exampleRange(next, false)],
  },
  programs: [{ program: exampleIdentifier('program'), ...exampleStatistics }],
  abiViolations: { total: 0, newest: [] },
};

function exampleRange({ address, pages, version }: typeof old | typeof next, nx: boolean) {
  return { address, pages, owner: { module: 'tcp', version }, present: true, valid: true, nx, reclaimable: nx };
}

export const DeviceState = z
  .object({
    sequence: z
      .int()
      .positive()
      .optional()
      .describe(
        'Order of the states of a device within one boot of its host: each new state, in any report, has a higher sequence than the one before. ' +
          'The service stores the state with the highest sequence. Without a sequence, states count in the order of their arrival.',
      ),
    at: Timestamp.describe('When the state was taken, by the clock of the device. For display only.'),
    moduleTable: z.array(ModuleTableEntry).max(stateLimits.modules),
    memoryMap: MemoryMap,
    programs: z.array(ProgramStatistics).max(stateLimits.programs),
    draining: Drain.optional().describe('The load of the device that drains. Omitted if none does, and by devices that do not report it.'),
    abiViolations: AbiViolations.default({ total: 0, newest: [] }),
  })
  .meta({ id: 'DeviceState', examples: [exampleDeviceState] });
export type DeviceState = z.infer<typeof DeviceState>;
