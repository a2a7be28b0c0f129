-- AlterTable
ALTER TABLE "Device" ADD COLUMN "stateSequence" BIGINT;
