-- AlterTable
ALTER TABLE "Session" ADD COLUMN "scope" TEXT COLLATE "C";

-- AlterTable
ALTER TABLE "User" ADD COLUMN "roles" TEXT COLLATE "C" NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "User" ADD COLUMN "scope" TEXT COLLATE "C";
