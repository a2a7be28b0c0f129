-- AlterTable
ALTER TABLE "Host" ADD COLUMN "streamQuestion" TEXT COLLATE "C";
ALTER TABLE "Host" ADD COLUMN "address" TEXT COLLATE "C";

-- CreateTable
CREATE TABLE "HostBoot" (
    "hostId" TEXT COLLATE "C" NOT NULL,
    "bootId" TEXT COLLATE "C" NOT NULL,
    "address" TEXT COLLATE "C",
    "replacedAt" TIMESTAMP(3),
    "refusedSince" TIMESTAMP(3),
    "refusedAt" TIMESTAMP(3),

    CONSTRAINT "HostBoot_pkey" PRIMARY KEY ("hostId", "bootId")
);

-- CreateIndex
CREATE INDEX "HostBoot_refusedAt_idx" ON "HostBoot"("refusedAt") WHERE "refusedAt" IS NOT NULL;
