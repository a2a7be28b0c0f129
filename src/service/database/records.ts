// All records of one connection or transaction, by kind.

import { CheckpointRecords } from '../audit/checkpoint-repository.ts';
import { AuditRecords } from '../audit/repository.ts';
import { RetentionTimeRecords } from '../clock/repository.ts';
import { AbiViolationRecords } from '../devices/abi-violation-repository.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { HistoryRecords } from '../history/repository.ts';
import { HostRecords } from '../hosts/repository.ts';
import { AnswerRecords } from '../idempotency/repository.ts';
import { KeyRecords } from '../keys/repository.ts';
import { LoadRecords } from '../loads/repository.ts';
import { BuildRecords } from '../modules/repository.ts';
import { OrderRecords } from '../orders/repository.ts';
import { ProgramRecords } from '../programs/repository.ts';
import { PublisherKeyRecords } from '../publisher-keys/repository.ts';
import { ImageRecords } from '../retention/repository.ts';
import { RolloutRecords } from '../rollouts/repository.ts';
import { SignaturePolicyRecords } from '../signature-policies/repository.ts';
import { SigningKeyRecords } from '../signing-keys/repository.ts';
import { type Committed, newCommitted } from './committed.ts';
import type { Prisma } from './generated/client.ts';
import { checkedRowsOf, type OnUnreadable, readableRowsOf } from './readable-rows.ts';
import type { Statements } from './statements.ts';

export class Records {
  readonly abiViolations: AbiViolationRecords;
  readonly answers: AnswerRecords;
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
  readonly programs: ProgramRecords;
  readonly publisherKeys: PublisherKeyRecords;
  readonly retentionTime: RetentionTimeRecords;
  readonly rollouts: RolloutRecords;
  readonly signaturePolicies: SignaturePolicyRecords;
  readonly signingKeys: SigningKeyRecords;

  /** What those who are told when it is on disk are told of it. */
  readonly committed: Committed = newCommitted();

  /** @param onUnreadable Called with each row that a read leaves out because it cannot be decoded. */
  constructor(connection: Prisma.TransactionClient, statements: Statements, onUnreadable: OnUnreadable = () => {}) {
    const readable = readableRowsOf(connection, onUnreadable);
    const client = checkedRowsOf(connection);
    this.abiViolations = new AbiViolationRecords(client, readable, statements);
    this.answers = new AnswerRecords(client, statements);
    this.audit = new AuditRecords(client, readable, statements, this.committed);
    this.builds = new BuildRecords(client, readable, statements, onUnreadable);
    this.checkpoints = new CheckpointRecords(client, readable);
    this.devices = new DeviceRecords(client, readable, statements, onUnreadable);
    this.history = new HistoryRecords(client, readable, statements, onUnreadable);
    this.hosts = new HostRecords(client, readable, statements, this.committed);
    this.images = new ImageRecords(client);
    this.keys = new KeyRecords(client, readable, statements);
    this.loads = new LoadRecords(client, readable, statements, this.committed);
    this.orders = new OrderRecords(client, readable, statements, this.committed);
    this.programs = new ProgramRecords(client, readable, statements);
    this.publisherKeys = new PublisherKeyRecords(client, readable);
    this.retentionTime = new RetentionTimeRecords(client, statements);
    this.rollouts = new RolloutRecords(client, readable);
    this.signaturePolicies = new SignaturePolicyRecords(client, readable, statements);
    this.signingKeys = new SigningKeyRecords(client, readable);
  }
}
