-- AlterTable
ALTER TABLE "Rollout" ADD COLUMN "patchSetId" TEXT;
