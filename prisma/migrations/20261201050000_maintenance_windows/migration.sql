-- Maintenance windows of groups, and the orders of loads that wait for them.
-- AlterTable
ALTER TABLE "DeviceGroup" ADD COLUMN "maintenanceWindows" JSONB;

-- CreateIndex
CREATE INDEX "DeviceGroup_windows_idx" ON "DeviceGroup"("id") WHERE "maintenanceWindows" IS NOT NULL;

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "heldSince" DATETIME;
ALTER TABLE "Load" ADD COLUMN "heldUntil" DATETIME;
ALTER TABLE "Load" ADD COLUMN "windowOverride" TEXT;

-- CreateIndex
CREATE INDEX "Load_held_deviceId_heldUntil_idx" ON "Load"("deviceId", "heldUntil") WHERE "heldSince" IS NOT NULL;

-- CreateTable
CREATE TABLE "HeldOrder" (
    "number" INTEGER NOT NULL PRIMARY KEY,
    "id" TEXT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "body" JSONB NOT NULL,
    "loadId" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL
);

-- CreateIndex
CREATE UNIQUE INDEX "HeldOrder_id_key" ON "HeldOrder"("id");

-- CreateIndex
CREATE UNIQUE INDEX "HeldOrder_loadId_key" ON "HeldOrder"("loadId");

-- CreateIndex
CREATE INDEX "HeldOrder_deviceId_number_idx" ON "HeldOrder"("deviceId", "number");
