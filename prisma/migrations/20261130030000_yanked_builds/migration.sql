-- AlterTable
ALTER TABLE "Build" ADD COLUMN "yankedAt" DATETIME;
ALTER TABLE "Build" ADD COLUMN "yankReason" TEXT;
ALTER TABLE "Build" ADD COLUMN "yankedBy" TEXT;
