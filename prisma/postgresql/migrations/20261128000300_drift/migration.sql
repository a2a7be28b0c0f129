-- AlterTable
ALTER TABLE "Host" ADD COLUMN "credential" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "Device" ADD COLUMN "rejectedAt" TIMESTAMP(3);
ALTER TABLE "Device" ADD COLUMN "rejection" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "DeviceModule" ADD COLUMN "driftedAt" TIMESTAMP(3);
ALTER TABLE "DeviceModule" ADD COLUMN "driftedFrom" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "HistoryEntry" ADD COLUMN "observed" BOOLEAN NOT NULL DEFAULT false;

-- CreateIndex
CREATE INDEX "Device_rejected_idx" ON "Device"("rejectedAt") WHERE "rejectedAt" IS NOT NULL;

-- CreateIndex
CREATE INDEX "DeviceModule_drifted_idx" ON "DeviceModule"("deviceId", "module") WHERE "driftedAt" IS NOT NULL;
