// All repositories on one connection, for tests.

import { CheckpointRecords } from '../../src/service/audit/checkpoint-repository.ts';
import { AuditRecords } from '../../src/service/audit-events/repository.ts';
import { RetentionTimeRecords } from '../../src/service/clock/repository.ts';
import type { Connection } from '../../src/service/database/connection.ts';
import type { Store } from '../../src/service/database/store.ts';
import { AbiViolationRecords } from '../../src/service/devices/abi-violation-repository.ts';
import { DeviceRecords } from '../../src/service/devices/repository.ts';
import { HistoryRecords } from '../../src/service/history/repository.ts';
import { HostRecords } from '../../src/service/hosts/repository.ts';
import { IdempotentResponseRecords } from '../../src/service/idempotency/repository.ts';
import { KeyRecords } from '../../src/service/keys/repository.ts';
import { LoadRecords } from '../../src/service/loads/repository.ts';
import { BuildRecords } from '../../src/service/modules/repository.ts';
import { OrderRecords } from '../../src/service/orders/repository.ts';
import { PatchSetRecords } from '../../src/service/patch-sets/repository.ts';
import { ProgramRecords } from '../../src/service/programs/repository.ts';
import { PublisherKeyRecords } from '../../src/service/publisher-keys/repository.ts';
import { ImageRecords } from '../../src/service/retention/repository.ts';
import { RolloutRecords } from '../../src/service/rollouts/repository.ts';
import { SignaturePolicyRecords } from '../../src/service/signature-policies/repository.ts';
import { SigningKeyRecords } from '../../src/service/signing-keys/repository.ts';

/** The columns of a load of a build that only loads of other kinds need. */
export const buildKind = { kind: 'build', patchSetId: null, forceReason: null } as const;

export class Records {
  readonly abiViolations: AbiViolationRecords;
  readonly idempotentResponses: IdempotentResponseRecords;
  readonly audit: AuditRecords;
  readonly builds: BuildRecords;
  readonly checkpoints: CheckpointRecords;
  readonly devices: DeviceRecords;
  readonly history: HistoryRecords;
  readonly hosts: HostRecords;
  readonly images: ImageRecords;
  readonly keys: KeyRecords;
  readonly loads: LoadRecords;
  readonly orders: OrderRecords;
  readonly patchSets: PatchSetRecords;
  readonly programs: ProgramRecords;
  readonly publisherKeys: PublisherKeyRecords;
  readonly retentionTime: RetentionTimeRecords;
  readonly rollouts: RolloutRecords;
  readonly signaturePolicies: SignaturePolicyRecords;
  readonly signingKeys: SigningKeyRecords;

  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
    this.abiViolations = new AbiViolationRecords(connection);
    this.idempotentResponses = new IdempotentResponseRecords(connection);
    this.audit = new AuditRecords(connection);
    this.builds = new BuildRecords(connection);
    this.checkpoints = new CheckpointRecords(connection);
    this.devices = new DeviceRecords(connection);
    this.history = new HistoryRecords(connection);
    this.hosts = new HostRecords(connection);
    this.images = new ImageRecords(connection);
    this.keys = new KeyRecords(connection);
    this.loads = new LoadRecords(connection);
    this.orders = new OrderRecords(connection);
    this.patchSets = new PatchSetRecords(connection);
    this.programs = new ProgramRecords(connection);
    this.publisherKeys = new PublisherKeyRecords(connection);
    this.retentionTime = new RetentionTimeRecords(connection);
    this.rollouts = new RolloutRecords(connection);
    this.signaturePolicies = new SignaturePolicyRecords(connection);
    this.signingKeys = new SigningKeyRecords(connection);
  }
}

/** Runs changes in one transaction. */
export function inTransaction<Result>(store: Pick<Store, 'transaction'>, change: (records: Records) => Promise<Result>): Promise<Result> {
  return store.transaction((connection) => change(new Records(connection)));
}
