-- AlterTable
-- Null: unknown, because the build was pushed before this column.
ALTER TABLE "Build" ADD COLUMN "hasState" BOOLEAN;
