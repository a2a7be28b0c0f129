-- AlterTable
ALTER TABLE "ApiKey" ADD COLUMN "scope" TEXT;

-- AlterTable
ALTER TABLE "Rollout" ADD COLUMN "scope" TEXT;
