-- AlterTable
ALTER TABLE "Host" ADD COLUMN "registeredName" TEXT COLLATE "C";
ALTER TABLE "Host" ADD COLUMN "decommissionedAt" TIMESTAMP(3);
ALTER TABLE "Host" ADD COLUMN "decommissionReason" TEXT COLLATE "C";
ALTER TABLE "Host" ADD COLUMN "decommissionedBy" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "Device" ADD COLUMN "registeredName" TEXT COLLATE "C";
ALTER TABLE "Device" ADD COLUMN "decommissionedAt" TIMESTAMP(3);
ALTER TABLE "Device" ADD COLUMN "decommissionReason" TEXT COLLATE "C";
ALTER TABLE "Device" ADD COLUMN "decommissionedBy" TEXT COLLATE "C";

-- DropIndex
DROP INDEX "Host_name_key";
DROP INDEX "Device_name_key";
DROP INDEX "Device_createdAt_id_idx";
DROP INDEX "Device_hostId_createdAt_id_idx";
DROP INDEX "Device_attachedBootId_createdAt_id_idx";

-- CreateIndex
CREATE UNIQUE INDEX "Host_name_key" ON "Host"("name") WHERE "decommissionedAt" IS NULL;
CREATE UNIQUE INDEX "Device_name_key" ON "Device"("name") WHERE "decommissionedAt" IS NULL;
CREATE UNIQUE INDEX "Device_registeredName_key" ON "Device"("registeredName") WHERE "decommissionedAt" IS NULL AND "registeredName" IS NOT NULL;
CREATE INDEX "Device_createdAt_id_idx" ON "Device"("createdAt", "id") WHERE "decommissionedAt" IS NULL;
CREATE INDEX "Device_hostId_createdAt_id_idx" ON "Device"("hostId", "createdAt", "id") WHERE "decommissionedAt" IS NULL;
CREATE INDEX "Device_attachedBootId_createdAt_id_idx" ON "Device"("attachedBootId", "createdAt", "id") WHERE "decommissionedAt" IS NULL;
CREATE INDEX "Device_decommissioned_createdAt_id_idx" ON "Device"("createdAt", "id") WHERE "decommissionedAt" IS NOT NULL;
CREATE INDEX "Device_decommissioned_hostId_createdAt_id_idx" ON "Device"("hostId", "createdAt", "id") WHERE "decommissionedAt" IS NOT NULL;
