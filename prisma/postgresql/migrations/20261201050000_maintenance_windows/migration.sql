-- Maintenance windows of groups, and the orders of loads that wait for them.
-- AlterTable
ALTER TABLE "DeviceGroup" ADD COLUMN "maintenanceWindows" JSONB;

-- CreateIndex
CREATE INDEX "DeviceGroup_windows_idx" ON "DeviceGroup"("id") WHERE "maintenanceWindows" IS NOT NULL;

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "heldSince" TIMESTAMP(3);
ALTER TABLE "Load" ADD COLUMN "heldUntil" TIMESTAMP(3);
ALTER TABLE "Load" ADD COLUMN "windowOverride" TEXT COLLATE "C";

-- CreateIndex
CREATE INDEX "Load_held_deviceId_heldUntil_idx" ON "Load"("deviceId", "heldUntil") WHERE "heldSince" IS NOT NULL;

-- CreateTable
CREATE TABLE "HeldOrder" (
    "number" INTEGER NOT NULL,
    "id" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "body" JSONB NOT NULL,
    "loadId" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "HeldOrder_pkey" PRIMARY KEY ("number")
);

-- CreateIndex
CREATE UNIQUE INDEX "HeldOrder_id_key" ON "HeldOrder"("id");

-- CreateIndex
CREATE UNIQUE INDEX "HeldOrder_loadId_key" ON "HeldOrder"("loadId");

-- CreateIndex
CREATE INDEX "HeldOrder_deviceId_number_idx" ON "HeldOrder"("deviceId", "number");
