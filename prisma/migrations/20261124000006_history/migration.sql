-- AlterTable
ALTER TABLE "Load" ADD COLUMN "requestedBy" TEXT;
ALTER TABLE "Load" ADD COLUMN "rollback" BOOLEAN NOT NULL DEFAULT false;

-- AlterTable
ALTER TABLE "HistoryEntry" ADD COLUMN "requestedBy" TEXT;
ALTER TABLE "HistoryEntry" ADD COLUMN "leftThrough" TEXT;
ALTER TABLE "HistoryEntry" ADD COLUMN "invalidation" TEXT;

-- CreateIndex
CREATE INDEX "HistoryEntry_deviceId_enteredAt_idx" ON "HistoryEntry"("deviceId", "enteredAt");

-- CreateIndex
CREATE INDEX "HistoryEntry_module_version_deviceId_enteredAt_leftAt_idx" ON "HistoryEntry"("module", "version", "deviceId", "enteredAt", "leftAt");
