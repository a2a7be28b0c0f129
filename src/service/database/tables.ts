// The table types of the SQL builder, derived from the Prisma schema.

import type { ColumnType, Generated } from 'kysely';
import type { Prisma } from './generated/client.ts';
import type {
  AbiViolationModel,
  AgentOrderModel,
  ApiKeyModel,
  AssignmentModel,
  AssignmentRolloutModel,
  AuditEventModel,
  AuditHeadModel,
  AuditTileModel,
  BuildModel,
  ChannelModel,
  ChannelPromotionModel,
  CheckpointModel,
  DesiredStateModel,
  DeviceGroupModel,
  DeviceLabelModel,
  DeviceModel,
  DeviceModuleModel,
  DeviceOriginModel,
  FleetExaminationModel,
  HeldOrderModel,
  HistoryEntryModel,
  HostBootModel,
  HostModel,
  IdempotentResponseModel,
  ImageModel,
  LoadBatchModel,
  LoadModel,
  LoadReportModel,
  LoadTotalModel,
  ModuleDependentModel,
  ParkedEventModel,
  PatchSetMemberModel,
  PatchSetModel,
  ProgramModel,
  PublisherKeyModel,
  RetentionTimeModel,
  RolloutDeviceModel,
  RolloutModel,
  RolloutWaveModel,
  SessionModel,
  SignaturePolicyModel,
  SigningKeyModel,
  UserModel,
  WebhookModel,
} from './generated/models.ts';
import type { Json } from './json.ts';

/** The type of a column: JSON is written as `Json`, and large integers may be written as numbers. */
type Column<Cell> = [Prisma.JsonValue] extends [Cell]
  ? ColumnType<Prisma.JsonValue, Json | null, Json | null>
  : [bigint] extends [Cell]
    ? ColumnType<Cell, Cell | number, Cell | number>
    : Cell;

/** The type of a table. @typeParam Defaults Columns that have a default value in the database. */
type Table<Model, Defaults extends keyof Model = never> = {
  [Name in keyof Model]: Name extends Defaults ? Generated<Model[Name]> : Column<Model[Name]>;
};

export type Tables = {
  readonly AbiViolation: Table<AbiViolationModel, 'number'>;
  readonly AgentOrder: Table<AgentOrderModel, 'number'>;
  readonly ApiKey: Table<ApiKeyModel>;
  readonly Assignment: Table<AssignmentModel>;
  readonly AssignmentRollout: Table<AssignmentRolloutModel>;
  readonly AuditEvent: Table<AuditEventModel>;
  readonly AuditHead: Table<AuditHeadModel>;
  readonly AuditTile: Table<AuditTileModel>;
  readonly Build: Table<BuildModel>;
  readonly Channel: Table<ChannelModel>;
  readonly ChannelPromotion: Table<ChannelPromotionModel>;
  readonly Checkpoint: Table<CheckpointModel>;
  readonly DesiredState: Table<DesiredStateModel, 'attempts'>;
  readonly Device: Table<DeviceModel, 'labelsByOperator'>;
  readonly DeviceGroup: Table<DeviceGroupModel>;
  readonly DeviceLabel: Table<DeviceLabelModel>;
  readonly DeviceModule: Table<DeviceModuleModel, 'historyPruned'>;
  readonly DeviceOrigin: Table<DeviceOriginModel>;
  readonly FleetExamination: Table<FleetExaminationModel>;
  readonly HeldOrder: Table<HeldOrderModel>;
  readonly HistoryEntry: Table<HistoryEntryModel, 'number' | 'observed'>;
  readonly Host: Table<HostModel, 'heartbeatCount' | 'unreachableMilliseconds' | 'capabilities'>;
  readonly HostBoot: Table<HostBootModel>;
  readonly IdempotentResponse: Table<IdempotentResponseModel, 'isSealed'>;
  readonly Image: Table<ImageModel>;
  readonly Load: Table<LoadModel, 'kind' | 'versionPolicy' | 'similarityPolicy' | 'linkPolicy' | 'rollback'>;
  readonly LoadBatch: Table<LoadBatchModel>;
  readonly LoadReport: Table<LoadReportModel>;
  readonly LoadTotal: Table<LoadTotalModel>;
  readonly ModuleDependent: Table<ModuleDependentModel>;
  readonly ParkedEvent: Table<ParkedEventModel>;
  readonly PatchSet: Table<PatchSetModel>;
  readonly PatchSetMember: Table<PatchSetMemberModel>;
  readonly Program: Table<ProgramModel, 'recovery' | 'addressing' | 'stopRequested' | 'started'>;
  readonly PublisherKey: Table<PublisherKeyModel>;
  readonly RetentionTime: Table<RetentionTimeModel>;
  readonly Rollout: Table<RolloutModel>;
  readonly RolloutDevice: Table<RolloutDeviceModel, 'attempts'>;
  readonly RolloutWave: Table<RolloutWaveModel, 'failureIgnored'>;
  readonly Session: Table<SessionModel>;
  readonly SignaturePolicy: Table<SignaturePolicyModel>;
  readonly User: Table<UserModel, 'roles'>;
  readonly SigningKey: Table<SigningKeyModel>;
  readonly Webhook: Table<WebhookModel, 'revision'>;
};
