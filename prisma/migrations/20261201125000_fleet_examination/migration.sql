-- The position of the examination of the fleet, which replicas share.
-- CreateTable
CREATE TABLE "FleetExamination" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "position" TEXT NOT NULL,
    "counts" JSONB NOT NULL,
    "lastCounts" JSONB
);
