-- The position of the examination of the fleet, which replicas share.
-- CreateTable
CREATE TABLE "FleetExamination" (
    "id" INTEGER NOT NULL,
    "position" TEXT COLLATE "C" NOT NULL,
    "counts" JSONB NOT NULL,
    "lastCounts" JSONB,

    CONSTRAINT "FleetExamination_pkey" PRIMARY KEY ("id")
);
