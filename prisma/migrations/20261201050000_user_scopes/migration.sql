-- AlterTable
ALTER TABLE "Session" ADD COLUMN "scope" TEXT;

-- AlterTable
ALTER TABLE "User" ADD COLUMN "roles" TEXT NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "User" ADD COLUMN "scope" TEXT;
