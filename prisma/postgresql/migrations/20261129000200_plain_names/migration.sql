-- AlterTable
ALTER TABLE "Host" RENAME COLUMN "heardCount" TO "heartbeatCount";
ALTER TABLE "Device" RENAME COLUMN "stateAt" TO "stateReportedAt";
ALTER TABLE "HistoryEntry" RENAME COLUMN "enteredAt" TO "installedAt";
ALTER TABLE "HistoryEntry" RENAME COLUMN "leftAt" TO "removedAt";
ALTER TABLE "HistoryEntry" RENAME COLUMN "leftBy" TO "removalCause";
ALTER TABLE "HistoryEntry" RENAME COLUMN "leftThrough" TO "replacedByLoadId";
ALTER TABLE "Rollout" RENAME COLUMN "joinableUntil" TO "acceptsDevicesUntil";
ALTER TABLE "RolloutWave" RENAME COLUMN "accepted" TO "failureIgnored";
ALTER TABLE "AbiViolation" RENAME COLUMN "at" TO "firstFaultAt";
ALTER TABLE "AbiViolation" RENAME COLUMN "lastAt" TO "lastFaultAt";
ALTER TABLE "AgentOrder" RENAME COLUMN "withdrawnAt" TO "cancelledAt";
ALTER TABLE "SigningKey" RENAME COLUMN "predecessor" TO "predecessorEndorsement";
ALTER TABLE "IdempotentAnswer" RENAME TO "IdempotentResponse";
ALTER TABLE "IdempotentResponse" RENAME CONSTRAINT "IdempotentAnswer_pkey" TO "IdempotentResponse_pkey";

-- RenameIndex
ALTER INDEX "HistoryEntry_deviceId_module_enteredAt_idx" RENAME TO "HistoryEntry_deviceId_module_installedAt_idx";
ALTER INDEX "HistoryEntry_deviceId_enteredAt_idx" RENAME TO "HistoryEntry_deviceId_installedAt_idx";
ALTER INDEX "HistoryEntry_module_version_deviceId_enteredAt_leftAt_idx" RENAME TO "HistoryEntry_module_version_deviceId_installedAt_removedAt_idx";
ALTER INDEX "AbiViolation_deviceId_at_idx" RENAME TO "AbiViolation_deviceId_firstFaultAt_idx";
ALTER INDEX "AgentOrder_hostId_withdrawnAt_number_idx" RENAME TO "AgentOrder_hostId_cancelledAt_number_idx";
ALTER INDEX "IdempotentAnswer_createdAt_idx" RENAME TO "IdempotentResponse_createdAt_idx";

-- Stored values
UPDATE "HistoryEntry" SET "removalCause" = 'reverted' WHERE "removalCause" = 'withdrawn';
UPDATE "Rollout" SET "plan" = ("plan" - 'whenBusy') || jsonb_build_object('onConflict', replace("plan" ->> 'whenBusy', 'refuse', 'reject'))
WHERE jsonb_typeof("plan" -> 'whenBusy') = 'string';
