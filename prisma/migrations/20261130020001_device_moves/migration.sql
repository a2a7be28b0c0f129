-- AlterTable
ALTER TABLE "Device" ADD COLUMN "movingTo" TEXT;
ALTER TABLE "Device" ADD COLUMN "moveReason" TEXT;
ALTER TABLE "Device" ADD COLUMN "moveRequestedBy" TEXT;

-- CreateTable
CREATE TABLE "DeviceOrigin" (
    "deviceId" TEXT NOT NULL,
    "hostId" TEXT NOT NULL,

    PRIMARY KEY ("deviceId", "hostId")
);

-- CreateIndex
CREATE INDEX "Device_moving_idx" ON "Device"("movingTo") WHERE "movingTo" IS NOT NULL;

-- CreateIndex
CREATE INDEX "DeviceOrigin_hostId_idx" ON "DeviceOrigin"("hostId");
