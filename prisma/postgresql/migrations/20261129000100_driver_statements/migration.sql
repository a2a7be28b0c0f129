-- AlterTable
ALTER TABLE "Image" ADD COLUMN "statement" TEXT COLLATE "C";
