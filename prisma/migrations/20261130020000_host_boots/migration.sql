-- AlterTable
ALTER TABLE "Host" ADD COLUMN "streamQuestion" TEXT;
ALTER TABLE "Host" ADD COLUMN "address" TEXT;

-- CreateTable
CREATE TABLE "HostBoot" (
    "hostId" TEXT NOT NULL,
    "bootId" TEXT NOT NULL,
    "address" TEXT,
    "replacedAt" DATETIME,
    "refusedSince" DATETIME,
    "refusedAt" DATETIME,

    PRIMARY KEY ("hostId", "bootId")
);

-- CreateIndex
CREATE INDEX "HostBoot_refusedAt_idx" ON "HostBoot"("refusedAt") WHERE "refusedAt" IS NOT NULL;
