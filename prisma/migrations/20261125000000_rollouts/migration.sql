-- AlterTable
ALTER TABLE "Load" ADD COLUMN "rolloutId" TEXT;

-- CreateTable
CREATE TABLE "Rollout" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "module" TEXT NOT NULL,
    "version" TEXT,
    "plan" JSONB NOT NULL,
    "state" TEXT NOT NULL,
    "reason" TEXT,
    "rollbackOf" TEXT,
    "requestedAt" DATETIME NOT NULL,
    "requestedBy" TEXT NOT NULL,
    "startedAt" DATETIME,
    "endedAt" DATETIME,
    "nextLoadAt" DATETIME,
    "joinableUntil" DATETIME
);

-- CreateTable
CREATE TABLE "RolloutWave" (
    "rolloutId" TEXT NOT NULL,
    "number" INTEGER NOT NULL,
    "state" TEXT NOT NULL,
    "failure" TEXT,
    "accepted" BOOLEAN NOT NULL DEFAULT false,
    "approvedBy" TEXT,
    "startedAt" DATETIME,
    "soakUntil" DATETIME,
    "endedAt" DATETIME,
    "measured" JSONB,
    "measuredAt" DATETIME,

    PRIMARY KEY ("rolloutId", "number")
);

-- CreateTable
CREATE TABLE "RolloutDevice" (
    "rolloutId" TEXT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "position" INTEGER NOT NULL,
    "wave" INTEGER NOT NULL,
    "version" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "loadId" TEXT,
    "outcome" TEXT,
    "reason" TEXT,
    "previousVersion" TEXT,
    "interrupted" INTEGER,
    "loadedAt" DATETIME,
    "baseline" JSONB,
    "measured" JSONB,

    PRIMARY KEY ("rolloutId", "deviceId")
);

-- CreateIndex
CREATE UNIQUE INDEX "Rollout_rollbackOf_key" ON "Rollout"("rollbackOf");

-- CreateIndex
CREATE INDEX "Rollout_requestedAt_id_idx" ON "Rollout"("requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_state_requestedAt_id_idx" ON "Rollout"("state", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_module_requestedAt_id_idx" ON "Rollout"("module", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_endedAt_requestedAt_id_idx" ON "Rollout"("endedAt", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "RolloutDevice_rolloutId_wave_state_position_interrupted_idx" ON "RolloutDevice"("rolloutId", "wave", "state", "position", "interrupted");

-- CreateIndex
CREATE INDEX "RolloutDevice_rolloutId_position_idx" ON "RolloutDevice"("rolloutId", "position");

-- CreateIndex
CREATE INDEX "RolloutDevice_loadId_idx" ON "RolloutDevice"("loadId");

-- CreateIndex
CREATE INDEX "RolloutDevice_deviceId_idx" ON "RolloutDevice"("deviceId");
