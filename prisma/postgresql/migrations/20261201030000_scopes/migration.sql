-- AlterTable
ALTER TABLE "ApiKey" ADD COLUMN "scope" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "Rollout" ADD COLUMN "scope" TEXT COLLATE "C";
