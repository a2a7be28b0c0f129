// Programs in the API.

import { z } from 'zod';
import { Addressing, CallDeadline, programLimits, Recovery } from '../../protocol/agent.ts';
import { exampleStatistics as exampleReport, ProgramStatistics } from '../../protocol/device-state.ts';
import { exampleFunction, exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, ExportName, exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { FunctionType } from '../../protocol/interface.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { programStates } from './programs.ts';

export const programParameters = z.object({ device: identifier('device'), program: identifier('program') });

export const NewProgram = z
  .strictObject({
    name: DisplayName.optional().describe('Without it, named after what it calls.'),
    module: ModuleName,
    export: ExportName.describe('The export that each thread calls.'),
    arguments: z
      .array(z.union([z.number(), z.string().max(64)]))
      .max(programLimits.arguments)
      .default([])
      .describe('One number for each parameter; as decimal text where JSON numbers are too coarse.'),
    threads: z.int().min(1).max(programLimits.threads).default(1),
    calls: z
      .int()
      .min(1)
      .max(Number.MAX_SAFE_INTEGER)
      .nullable()
      .default(null)
      .describe('Calls of each thread; null: until the program is stopped.'),
    pauseMilliseconds: z.int().min(0).max(programLimits.pauseMilliseconds).default(0).describe('Pause after each call.'),
    recovery: Recovery.default('module').describe(
      'What retries where an error is injected. `module`: the access that was inside the old version. `percolate`: the error passes the calling modules too, and the program makes the whole call anew.',
    ),
    addressing: Addressing.default('via-table').describe(
      'How the module is found. `via-table`: through the module table, at every call. `hard-coded`: at the first, and then the program keeps the address and faults where that code has gone (the ABI test).',
    ),
    deadlineMilliseconds: CallDeadline.nullable()
      .default(null)
      .describe('How long one call may take; one that takes longer fails, and the thread goes on with its next. Null: for ever.'),
  })
  .meta({
    id: 'NewProgram',
    examples: [
      { module: 'tcp', export: 'checksum', arguments: [1500, 1000], threads: 4 },
      { name: 'abi-test', module: 'tcp', export: 'checksum', arguments: [1500, 1], pauseMilliseconds: 1_000, addressing: 'hard-coded' },
    ],
  });

const ProgramState = z.enum(programStates).meta({ id: 'ProgramState' });

const microseconds = z.int().nonnegative();

const VersionStatistics = z
  .object({
    version: z.string().describe('Empty: of calls that failed before any version had served one.'),
    callsCompleted: count,
    callsFailed: count.describe('Calls that failed inside this version, or after it had served the call before.'),
    latency: z
      .object({
        calls: count.describe('Completed calls that it is known of: those that were measured stand for others.'),
        p50Microseconds: microseconds.describe('Half of the calls took no longer.'),
        p90Microseconds: microseconds,
        p99Microseconds: microseconds,
        maximumMicroseconds: microseconds,
      })
      .nullable()
      .describe(
        'How long completed calls took, from their begin to their end, waiting included; calls that were interrupted are not in it. Null where none was measured.',
      ),
  })
  .meta({ id: 'VersionStatistics' });
const [exampleOld, exampleNew] = exampleReport.versions;
const exampleStatistics = {
  ...exampleReport,
  versions: [
    { ...exampleOld, latency: { calls: 1_212, p50Microseconds: 2, p90Microseconds: 3, p99Microseconds: 3, maximumMicroseconds: 38 } },
    { ...exampleNew, latency: { calls: 824, p50Microseconds: 3, p90Microseconds: 3, p99Microseconds: 3, maximumMicroseconds: 5 } },
  ],
};

export const Statistics = ProgramStatistics.omit({ program: true })
  .extend({
    versions: z.array(VersionStatistics).max(100).describe('Calls by the version that served them, in the order of their coming.'),
  })
  .meta({ id: 'ProgramStatistics', examples: [exampleStatistics] });

export const Program = z
  .object({
    id: identifier('program'),
    device: identifier('device'),
    name: z.string(),
    module: z.string(),
    export: z.string(),
    type: FunctionType,
    arguments: z.array(z.string()),
    threads: count,
    calls: count.nullable(),
    pauseMilliseconds: count,
    recovery: Recovery,
    addressing: Addressing,
    deadlineMilliseconds: count.nullable().describe('A call that takes longer fails; null: it may take for ever.'),
    state: ProgramState,
    failure: z.string().nullable().describe('Why it could not be started.'),
    statistics: Statistics.nullable().describe('As the device last reported; null until it has.'),
    createdAt: timestamp,
  })
  .meta({
    id: 'Program',
    description: 'Threads that call an export of a module again and again.',
    examples: [
      {
        id: exampleIdentifier('program'),
        device: exampleIdentifier('device'),
        name: 'tcp.checksum',
        module: 'tcp',
        export: 'checksum',
        type: exampleFunction,
        arguments: ['1500', '1000'],
        threads: 4,
        calls: null,
        pauseMilliseconds: 0,
        recovery: 'module',
        addressing: 'via-table',
        deadlineMilliseconds: null,
        state: 'running',
        failure: null,
        statistics: exampleStatistics,
        createdAt: exampleTimes.started,
      },
    ],
  });
export const ProgramPage = pageSchema('ProgramPage', Program);

export const programQuery = z.strictObject({
  ...pageQuery,
  ...orderQuery,
  ...rangeQuery,
  module: moduleQuery.describe('Only programs that access this module.'),
});
