-- AlterTable
ALTER TABLE "Load" ADD COLUMN "downgradeReason" TEXT;
ALTER TABLE "Load" ADD COLUMN "drainMilliseconds" INTEGER;
ALTER TABLE "Load" ADD COLUMN "similarityPolicy" TEXT NOT NULL DEFAULT 'require';
ALTER TABLE "Load" ADD COLUMN "versionPolicy" TEXT NOT NULL DEFAULT 'newer';
