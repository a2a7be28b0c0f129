// Schemas of programs.

import { z } from 'zod';
import { Addressing, CallDeadline, programLimits, Recovery } from '../../protocol/agent.ts';
import { exampleStatistics as exampleReport, ProgramStatistics } from '../../protocol/device-state.ts';
import { exampleFunction, exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, ExportName, exampleIdentifier, ModuleName } from '../../protocol/identifiers.ts';
import { FunctionType } from '../../protocol/interface.ts';
import { pathDevice } from '../devices/schemas.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { moduleQuery, orderQuery, rangeQuery } from '../http/list-schemas.ts';
import { programStates } from './programs.ts';

export const programParameters = z.object({ device: pathDevice, program: identifier('program') });

export const NewProgram = z
  .strictObject({
    name: DisplayName.optional().describe('Default: the module and the export, such as `tcp.checksum`.'),
    module: ModuleName,
    export: ExportName.describe('The export that each thread calls.'),
    arguments: z
      .array(z.union([z.number(), z.string().max(64)]))
      .max(programLimits.arguments)
      .default([])
      .describe('One number for each parameter of the export. Use decimal text for values that a JSON number cannot represent exactly.'),
    threads: z.int().min(1).max(programLimits.threads).default(1),
    calls: z
      .int()
      .min(1)
      .max(Number.MAX_SAFE_INTEGER)
      .nullable()
      .default(null)
      .describe('Number of calls of each thread. Null: until the program is stopped.'),
    pauseMilliseconds: z.int().min(0).max(programLimits.pauseMilliseconds).default(0).describe('Pause after each call, in milliseconds.'),
    recovery: Recovery.default('module').describe(
      'What is retried after an injected error. `module`: the access that was inside the old version. `percolate`: the error also passes through the calling modules, and the program retries the whole call.',
    ),
    addressing: Addressing.default('via-table').describe(
      'How the program finds the module. `via-table`: it reads the module table for each call. `hard-coded`: it reads the module table once, keeps the address, and faults after that version has been invalidated (ABI test).',
    ),
    deadlineMilliseconds: CallDeadline.nullable()
      .default(null)
      .describe(
        'Time limit of one call, in milliseconds. A call that exceeds it fails, and the thread continues with its next call. Null: no limit.',
      ),
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
    version: z.string().describe('Empty for calls that failed before any version was entered.'),
    callsCompleted: count,
    callsFailed: count.describe('Calls that failed inside this version, or outside any version after a call that this version served.'),
    latency: z
      .object({
        calls: count.describe(
          'Number of completed calls that the distribution represents. Measured calls also stand for calls that were not measured.',
        ),
        p50Microseconds: microseconds.describe('Median, in microseconds.'),
        p90Microseconds: microseconds.describe('90th percentile, in microseconds.'),
        p99Microseconds: microseconds.describe('99th percentile, in microseconds.'),
        maximumMicroseconds: microseconds,
      })
      .nullable()
      .describe(
        'Duration of completed calls from start to end, including waiting. Interrupted calls are excluded. Null if no call was measured.',
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
    versions: z
      .array(VersionStatistics)
      .max(100)
      .describe('Calls by the version that served them, in the order in which the program first called the versions.'),
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
    deadlineMilliseconds: count.nullable().describe('Time limit of one call, in milliseconds. Null: no limit.'),
    state: ProgramState,
    failure: z.string().nullable().describe('Why the program could not be started. Null if it started.'),
    statistics: Statistics.nullable().describe('Statistics that the device last reported. Null until its first report.'),
    createdAt: timestamp,
  })
  .meta({
    id: 'Program',
    description: 'Threads on a device that call an export of a module repeatedly.',
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
  module: moduleQuery.describe('Only programs that call this module.'),
});
