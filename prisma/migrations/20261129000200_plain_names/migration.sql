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

-- Stored values
UPDATE "HistoryEntry" SET "removalCause" = 'reverted' WHERE "removalCause" = 'withdrawn';

-- Plans that are not valid JSON stay as they are: the service reports them.
UPDATE "Rollout" SET "plan" = json_remove(json_set("plan", '$.onConflict', replace(json_extract("plan", '$.whenBusy'), 'refuse', 'reject')), '$.whenBusy')
WHERE CASE WHEN json_valid("plan") THEN json_type("plan", '$.whenBusy') = 'text' END;

-- SQLite cannot rename an index.
DROP INDEX "HistoryEntry_deviceId_module_enteredAt_idx";
DROP INDEX "HistoryEntry_deviceId_enteredAt_idx";
DROP INDEX "HistoryEntry_module_version_deviceId_enteredAt_leftAt_idx";
DROP INDEX "AbiViolation_deviceId_at_idx";
DROP INDEX "AgentOrder_hostId_withdrawnAt_number_idx";
DROP INDEX "IdempotentAnswer_createdAt_idx";
CREATE INDEX "HistoryEntry_deviceId_module_installedAt_idx" ON "HistoryEntry"("deviceId", "module", "installedAt");
CREATE INDEX "HistoryEntry_deviceId_installedAt_idx" ON "HistoryEntry"("deviceId", "installedAt");
CREATE INDEX "HistoryEntry_module_version_deviceId_installedAt_removedAt_idx" ON "HistoryEntry"("module", "version", "deviceId", "installedAt", "removedAt");
CREATE INDEX "AbiViolation_deviceId_firstFaultAt_idx" ON "AbiViolation"("deviceId", "firstFaultAt");
CREATE INDEX "AgentOrder_hostId_cancelledAt_number_idx" ON "AgentOrder"("hostId", "cancelledAt", "number");
CREATE INDEX "IdempotentResponse_createdAt_idx" ON "IdempotentResponse"("createdAt");

-- SQLite removes the statistics of an index with the index.
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES ('AgentOrder', 'AgentOrder_hostId_cancelledAt_number_idx', '10000 1000 500 1');
