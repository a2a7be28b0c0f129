-- DropIndex
DROP INDEX "DeviceLabel_key_value_idx";

-- DropIndex
DROP INDEX "HistoryEntry_deviceId_module_idx";

-- DropIndex
DROP INDEX "Program_deviceId_idx";

-- DropIndex
DROP INDEX "AuditEvent_action_idx";

-- DropIndex
DROP INDEX "AuditEvent_object_idx";

-- DropIndex
DROP INDEX "Device_hostId_idx";

-- AlterTable: not redefined, for a table to which others refer cannot be dropped in a transaction.
ALTER TABLE "Device" ADD COLUMN "labelsByOperator" BOOLEAN NOT NULL DEFAULT false;

-- RedefineTables
PRAGMA defer_foreign_keys=ON;
PRAGMA foreign_keys=OFF;
CREATE TABLE "new_Load" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "batchId" TEXT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "buildId" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "strategy" TEXT NOT NULL,
    "invalidation" TEXT NOT NULL,
    "drainMilliseconds" INTEGER,
    "versionPolicy" TEXT NOT NULL DEFAULT 'newer',
    "downgradeReason" TEXT,
    "similarityPolicy" TEXT NOT NULL DEFAULT 'require',
    "state" TEXT NOT NULL,
    "outcome" TEXT,
    "reason" TEXT,
    "interrupted" INTEGER,
    "retried" INTEGER,
    "failed" INTEGER,
    "requestedAt" DATETIME NOT NULL,
    "deadlineAt" DATETIME,
    "dispatchedAt" DATETIME,
    "completedAt" DATETIME,
    "report" JSONB,
    CONSTRAINT "Load_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);
INSERT INTO "new_Load" ("batchId", "buildId", "completedAt", "deadlineAt", "deviceId", "dispatchedAt", "downgradeReason", "drainMilliseconds", "failed", "id", "interrupted", "invalidation", "module", "outcome", "reason", "report", "requestedAt", "retried", "similarityPolicy", "state", "strategy", "version", "versionPolicy") SELECT "batchId", "buildId", "completedAt", "deadlineAt", "deviceId", "dispatchedAt", "downgradeReason", "drainMilliseconds", "failed", "id", "interrupted", "invalidation", "module", "outcome", "reason", "report", "requestedAt", "retried", "similarityPolicy", "state", "strategy", "version", "versionPolicy" FROM "Load";
DROP TABLE "Load";
ALTER TABLE "new_Load" RENAME TO "Load";
CREATE INDEX "Load_requestedAt_id_idx" ON "Load"("requestedAt", "id");
CREATE INDEX "Load_batchId_requestedAt_id_idx" ON "Load"("batchId", "requestedAt", "id");
CREATE INDEX "Load_deviceId_requestedAt_id_idx" ON "Load"("deviceId", "requestedAt", "id");
CREATE INDEX "Load_module_requestedAt_id_idx" ON "Load"("module", "requestedAt", "id");
CREATE INDEX "Load_module_outcome_requestedAt_id_idx" ON "Load"("module", "outcome", "requestedAt", "id");
CREATE INDEX "Load_version_module_requestedAt_id_idx" ON "Load"("version", "module", "requestedAt", "id");
CREATE INDEX "Load_state_requestedAt_id_idx" ON "Load"("state", "requestedAt", "id");
CREATE INDEX "Load_outcome_requestedAt_id_idx" ON "Load"("outcome", "requestedAt", "id");
CREATE INDEX "Load_deviceId_state_idx" ON "Load"("deviceId", "state");
CREATE INDEX "Load_state_deadlineAt_idx" ON "Load"("state", "deadlineAt");
PRAGMA foreign_keys=ON;
PRAGMA defer_foreign_keys=OFF;

-- CreateIndex
CREATE INDEX "Build_module_createdAt_id_idx" ON "Build"("module", "createdAt", "id");

-- CreateIndex
CREATE INDEX "Host_registeredAt_id_idx" ON "Host"("registeredAt", "id");

-- CreateIndex
CREATE INDEX "Device_createdAt_id_idx" ON "Device"("createdAt", "id");

-- CreateIndex
CREATE INDEX "Device_hostId_createdAt_id_idx" ON "Device"("hostId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "Device_attachedBootId_createdAt_id_idx" ON "Device"("attachedBootId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "DeviceLabel_key_value_deviceId_idx" ON "DeviceLabel"("key", "value", "deviceId");

-- CreateIndex
CREATE INDEX "DeviceModule_module_version_deviceId_idx" ON "DeviceModule"("module", "version", "deviceId");

-- CreateIndex
CREATE INDEX "DeviceModule_version_deviceId_idx" ON "DeviceModule"("version", "deviceId");

-- CreateIndex
CREATE INDEX "HistoryEntry_deviceId_module_enteredAt_idx" ON "HistoryEntry"("deviceId", "module", "enteredAt");

-- CreateIndex
CREATE INDEX "Program_deviceId_createdAt_id_idx" ON "Program"("deviceId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "AuditEvent_at_idx" ON "AuditEvent"("at");

-- CreateIndex
CREATE INDEX "AuditEvent_action_at_idx" ON "AuditEvent"("action", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_object_at_idx" ON "AuditEvent"("object", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_actor_at_idx" ON "AuditEvent"("actor", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_requestId_at_idx" ON "AuditEvent"("requestId", "at");

-- CreateIndex
CREATE INDEX "ApiKey_createdAt_id_idx" ON "ApiKey"("createdAt", "id");

-- How the filters of long lists usually select, for the choice among several indexes: without it the database takes each to select as few rows
-- as any other, and would read every completed load to find those of one device. Rows of the table, then rows of each prefix of the index.
ANALYZE "_prisma_migrations";
DELETE FROM "sqlite_stat1";
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES
    ('Load', 'Load_requestedAt_id_idx', '1000000 100 1'),
    ('Load', 'Load_batchId_requestedAt_id_idx', '1000000 100 100 1'),
    ('Load', 'Load_deviceId_requestedAt_id_idx', '1000000 100 1 1'),
    ('Load', 'Load_module_requestedAt_id_idx', '1000000 20000 10 1'),
    ('Load', 'Load_module_outcome_requestedAt_id_idx', '1000000 20000 4000 10 1'),
    ('Load', 'Load_version_module_requestedAt_id_idx', '1000000 1000 500 10 1'),
    ('Load', 'Load_state_requestedAt_id_idx', '1000000 300000 10 1'),
    ('Load', 'Load_outcome_requestedAt_id_idx', '1000000 100000 10 1'),
    ('Load', 'Load_deviceId_state_idx', '1000000 100 50'),
    ('Load', 'Load_state_deadlineAt_idx', '1000000 300000 100'),
    ('Device', 'Device_name_key', '100000 1'),
    ('Device', 'Device_createdAt_id_idx', '100000 100 1'),
    ('Device', 'Device_hostId_createdAt_id_idx', '100000 500 100 1'),
    ('Device', 'Device_attachedBootId_createdAt_id_idx', '100000 500 100 1'),
    ('AuditEvent', 'AuditEvent_at_idx', '1000000 10'),
    ('AuditEvent', 'AuditEvent_action_at_idx', '1000000 50000 10'),
    ('AuditEvent', 'AuditEvent_object_at_idx', '1000000 10 1'),
    ('AuditEvent', 'AuditEvent_actor_at_idx', '1000000 100000 10'),
    ('AuditEvent', 'AuditEvent_requestId_at_idx', '1000000 10 10');
