-- AlterTable
ALTER TABLE "Host" ADD COLUMN "credential" TEXT;

-- AlterTable
ALTER TABLE "Device" ADD COLUMN "rejectedAt" DATETIME;
ALTER TABLE "Device" ADD COLUMN "rejection" TEXT;

-- AlterTable
ALTER TABLE "DeviceModule" ADD COLUMN "driftedAt" DATETIME;
ALTER TABLE "DeviceModule" ADD COLUMN "driftedFrom" TEXT;

-- AlterTable
ALTER TABLE "HistoryEntry" ADD COLUMN "observed" BOOLEAN NOT NULL DEFAULT false;

-- CreateIndex
CREATE INDEX "Device_rejected_idx" ON "Device"("rejectedAt") WHERE "rejectedAt" IS NOT NULL;

-- CreateIndex
CREATE INDEX "DeviceModule_drifted_idx" ON "DeviceModule"("deviceId", "module") WHERE "driftedAt" IS NOT NULL;
