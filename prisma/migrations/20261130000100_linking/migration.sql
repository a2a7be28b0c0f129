-- Loads that are already recorded ran without the check.
ALTER TABLE "Load" ADD COLUMN "linkPolicy" TEXT NOT NULL DEFAULT 'off';
