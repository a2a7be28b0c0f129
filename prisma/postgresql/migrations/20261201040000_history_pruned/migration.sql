-- AlterTable
ALTER TABLE "DeviceModule" ADD COLUMN "historyPruned" BOOLEAN NOT NULL DEFAULT false;
