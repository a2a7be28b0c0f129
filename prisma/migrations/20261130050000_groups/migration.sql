-- Named groups of devices, and signature policies that apply to one.
-- CreateTable
CREATE TABLE "DeviceGroup" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "selector" TEXT NOT NULL,
    "description" TEXT,
    "createdAt" DATETIME NOT NULL
);

-- CreateIndex
CREATE UNIQUE INDEX "DeviceGroup_name_key" ON "DeviceGroup"("name");

-- CreateIndex
CREATE INDEX "DeviceGroup_createdAt_id_idx" ON "DeviceGroup"("createdAt", "id");

-- AlterTable
ALTER TABLE "SignaturePolicy" ADD COLUMN "groupId" TEXT;
