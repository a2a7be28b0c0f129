-- AlterTable
ALTER TABLE "Webhook" ADD COLUMN "groupId" TEXT;
