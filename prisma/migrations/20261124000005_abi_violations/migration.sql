-- AlterTable
ALTER TABLE "Program" ADD COLUMN "addressing" TEXT NOT NULL DEFAULT 'via-table';
ALTER TABLE "Program" ADD COLUMN "deadlineMilliseconds" INTEGER;
ALTER TABLE "Program" ADD COLUMN "recovery" TEXT NOT NULL DEFAULT 'module';

-- CreateTable
CREATE TABLE "AbiViolation" (
    "number" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "deviceId" TEXT NOT NULL,
    "bootId" TEXT NOT NULL,
    "programId" TEXT NOT NULL,
    "programName" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "address" TEXT NOT NULL,
    "page" INTEGER NOT NULL,
    "flag" TEXT NOT NULL,
    "at" DATETIME NOT NULL,
    "lastAt" DATETIME NOT NULL,
    "faults" BIGINT NOT NULL
);

-- CreateIndex
CREATE INDEX "AbiViolation_deviceId_at_idx" ON "AbiViolation"("deviceId", "at");

-- CreateIndex
CREATE UNIQUE INDEX "AbiViolation_deviceId_bootId_programId_version_address_key" ON "AbiViolation"("deviceId", "bootId", "programId", "version", "address");
