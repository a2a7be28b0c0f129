-- AlterTable
ALTER TABLE "Host" ADD COLUMN "capabilities" TEXT COLLATE "C" NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "drainingSince" TIMESTAMP(3);
