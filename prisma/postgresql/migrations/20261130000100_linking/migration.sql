-- Loads that are already recorded ran without the check.
ALTER TABLE "Load" ADD COLUMN "linkPolicy" TEXT COLLATE "C" NOT NULL DEFAULT 'off';
