// The machine and the protocol do not import each other, so each lists the enums that both use. `tsc` compares the types here, and the test the values.

import { expect, expectTypeOf, test } from 'vitest';
import type { TaintReason } from '../../src/machine/accesses/taint.ts';
import type { AbiViolation } from '../../src/machine/device.ts';
import { ValueType } from '../../src/machine/images/stamp.ts';
import type { Addressing } from '../../src/machine/images/verified-image.ts';
import type * as machine from '../../src/machine/isolation/load-report.ts';
import type { ProgramStatistics, Recovery } from '../../src/machine/programs/program.ts';
import type * as agent from '../../src/protocol/agent.ts';
import type { DeviceState } from '../../src/protocol/device-state.ts';
import * as protocol from '../../src/protocol/interface.ts';
import type { LoadPolicy, LoadReport } from '../../src/protocol/load-report.ts';

// The policies of a load.
expectTypeOf<machine.Strategy>().toEqualTypeOf<LoadPolicy['strategy']>();
expectTypeOf<machine.Invalidation>().toEqualTypeOf<LoadPolicy['invalidation']>();
expectTypeOf<machine.VersionPolicy>().toEqualTypeOf<LoadPolicy['versionPolicy']>();
expectTypeOf<machine.LinkPolicy>().toEqualTypeOf<LoadPolicy['linkPolicy']>();
expectTypeOf<machine.SimilarityPolicy>().toEqualTypeOf<LoadPolicy['similarityPolicy']>();

// Outcomes and steps of a load; a host reports `expired` without the device.
expectTypeOf<machine.Outcome | 'expired'>().toEqualTypeOf<LoadReport['outcome']>();
expectTypeOf<machine.StepName>().toEqualTypeOf<LoadReport['steps'][number]['step']>();
expectTypeOf<TaintReason>().toEqualTypeOf<NonNullable<NonNullable<LoadReport['previous']>['tainted']>['reason']>();

// Programs.
expectTypeOf<Recovery>().toEqualTypeOf<agent.Recovery>();
expectTypeOf<Addressing>().toEqualTypeOf<agent.Addressing>();
expectTypeOf<ProgramStatistics['state']>().toEqualTypeOf<DeviceState['programs'][number]['state']>();
expectTypeOf<AbiViolation['flag']>().toEqualTypeOf<DeviceState['abiViolations']['newest'][number]['flag']>();

test('the value types of interfaces are the same in the machine and in the protocol', () => {
  expect(ValueType.options).toEqual(protocol.ValueType.options);
});
