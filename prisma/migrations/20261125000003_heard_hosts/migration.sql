-- AlterTable
ALTER TABLE "Host" ADD COLUMN "heardAt" DATETIME;
