-- AlterTable
ALTER TABLE "Device" ADD COLUMN "movingTo" TEXT COLLATE "C";
ALTER TABLE "Device" ADD COLUMN "moveReason" TEXT COLLATE "C";
ALTER TABLE "Device" ADD COLUMN "moveRequestedBy" TEXT COLLATE "C";

-- CreateTable
CREATE TABLE "DeviceOrigin" (
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "hostId" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "DeviceOrigin_pkey" PRIMARY KEY ("deviceId", "hostId")
);

-- CreateIndex
CREATE INDEX "Device_moving_idx" ON "Device"("movingTo") WHERE "movingTo" IS NOT NULL;

-- CreateIndex
CREATE INDEX "DeviceOrigin_hostId_idx" ON "DeviceOrigin"("hostId");
