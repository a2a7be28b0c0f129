-- AlterTable
ALTER TABLE "Host" ADD COLUMN "registeredName" TEXT;
ALTER TABLE "Host" ADD COLUMN "decommissionedAt" DATETIME;
ALTER TABLE "Host" ADD COLUMN "decommissionReason" TEXT;
ALTER TABLE "Host" ADD COLUMN "decommissionedBy" TEXT;

-- AlterTable
ALTER TABLE "Device" ADD COLUMN "registeredName" TEXT;
ALTER TABLE "Device" ADD COLUMN "decommissionedAt" DATETIME;
ALTER TABLE "Device" ADD COLUMN "decommissionReason" TEXT;
ALTER TABLE "Device" ADD COLUMN "decommissionedBy" TEXT;

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

-- The statistics of the recreated indexes, as before; and those of decommissioned devices.
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES
    ('Device', 'Device_name_key', '100000 1'),
    ('Device', 'Device_createdAt_id_idx', '100000 100 1'),
    ('Device', 'Device_hostId_createdAt_id_idx', '100000 500 100 1'),
    ('Device', 'Device_attachedBootId_createdAt_id_idx', '100000 500 100 1'),
    ('Device', 'Device_decommissioned_createdAt_id_idx', '10000 100 1'),
    ('Device', 'Device_decommissioned_hostId_createdAt_id_idx', '10000 500 100 1');
