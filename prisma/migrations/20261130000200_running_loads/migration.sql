-- AlterTable
ALTER TABLE "Host" ADD COLUMN "capabilities" TEXT NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "drainingSince" DATETIME;
