-- CreateTable
CREATE TABLE "LoadReport" (
    "loadId" TEXT NOT NULL PRIMARY KEY,
    "body" JSONB NOT NULL,
    CONSTRAINT "LoadReport_loadId_fkey" FOREIGN KEY ("loadId") REFERENCES "Load" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- Reports in a table of their own: a load that is given its report where it is makes its page of loads many.
INSERT INTO "LoadReport" ("loadId", "body") SELECT "id", "report" FROM "Load" WHERE "report" IS NOT NULL ORDER BY "completedAt", "id";

-- DropIndex
DROP INDEX "Load_state_requestedAt_id_idx";
DROP INDEX "Load_deviceId_state_idx";
DROP INDEX "Load_state_deadlineAt_idx";
DROP INDEX "Load_outcome_requestedAt_id_idx";
DROP INDEX "Load_module_outcome_requestedAt_id_idx";

-- AlterTable
ALTER TABLE "Load" DROP COLUMN "report";

-- CreateIndex
CREATE INDEX "Load_open_requestedAt_id_idx" ON "Load"("requestedAt", "id") WHERE "outcome" IS NULL;
CREATE INDEX "Load_open_deviceId_idx" ON "Load"("deviceId") WHERE "outcome" IS NULL;
CREATE INDEX "Load_open_deadlineAt_idx" ON "Load"("deadlineAt") WHERE "outcome" IS NULL;
CREATE INDEX "Load_ended_outcome_requestedAt_id_idx" ON "Load"("outcome", "requestedAt", "id") WHERE "outcome" IS NOT NULL;
CREATE INDEX "Load_ended_module_outcome_requestedAt_id_idx" ON "Load"("module", "outcome", "requestedAt", "id") WHERE "outcome" IS NOT NULL;

-- DropIndex
DROP INDEX "AgentOrder_settledAt_hostId_number_idx";
DROP INDEX "AgentOrder_deviceId_settledAt_idx";

-- CreateIndex
CREATE INDEX "AgentOrder_unsettled_hostId_number_idx" ON "AgentOrder"("hostId", "number") WHERE "settledAt" IS NULL;

-- CreateTable
CREATE TABLE "LoadTotal" (
    "outcome" TEXT NOT NULL PRIMARY KEY,
    "loads" INTEGER NOT NULL,
    "interrupted" BIGINT NOT NULL,
    "failed" BIGINT NOT NULL
);

-- What all loads came to, counted as they end: whoever asks does not have every load read.
INSERT INTO "LoadTotal" ("outcome", "loads", "interrupted", "failed")
SELECT "outcome", COUNT(*), COALESCE(SUM("interrupted"), 0), COALESCE(SUM("failed"), 0) FROM "Load" WHERE "outcome" IS NOT NULL GROUP BY "outcome";

-- Few loads are open: rows of the index, then rows of each prefix of it.
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES
    ('Load', 'Load_open_requestedAt_id_idx', '1000 1 1'),
    ('Load', 'Load_open_deviceId_idx', '1000 1'),
    ('Load', 'Load_open_deadlineAt_idx', '1000 1'),
    ('Load', 'Load_ended_outcome_requestedAt_id_idx', '1000000 100000 10 1'),
    ('Load', 'Load_ended_module_outcome_requestedAt_id_idx', '1000000 20000 4000 10 1');
