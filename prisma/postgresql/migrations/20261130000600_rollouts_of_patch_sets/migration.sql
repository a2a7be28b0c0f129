-- AlterTable
ALTER TABLE "Rollout" ADD COLUMN "patchSetId" TEXT COLLATE "C";
