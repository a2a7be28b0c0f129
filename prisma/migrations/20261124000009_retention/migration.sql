-- AlterTable
ALTER TABLE "Build" ADD COLUMN "imagePrunedAt" DATETIME;
