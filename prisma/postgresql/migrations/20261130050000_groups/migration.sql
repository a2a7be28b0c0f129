-- Named groups of devices, and signature policies that apply to one.
-- CreateTable
CREATE TABLE "DeviceGroup" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "selector" TEXT COLLATE "C" NOT NULL,
    "description" TEXT COLLATE "C",
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "DeviceGroup_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "DeviceGroup_name_key" ON "DeviceGroup"("name");

-- CreateIndex
CREATE INDEX "DeviceGroup_createdAt_id_idx" ON "DeviceGroup"("createdAt", "id");

-- AlterTable
ALTER TABLE "SignaturePolicy" ADD COLUMN "groupId" TEXT COLLATE "C";
