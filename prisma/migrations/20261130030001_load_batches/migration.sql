-- CreateTable
CREATE TABLE "LoadBatch" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "kind" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT,
    "selection" JSONB,
    "loads" INTEGER NOT NULL,
    "rollback" BOOLEAN NOT NULL,
    "retryOf" TEXT,
    "requestedAt" DATETIME NOT NULL,
    "requestedBy" TEXT
);

-- CreateIndex
CREATE INDEX "LoadBatch_requestedAt_id_idx" ON "LoadBatch"("requestedAt", "id");

-- CreateIndex
CREATE INDEX "LoadBatch_module_requestedAt_id_idx" ON "LoadBatch"("module", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "LoadBatch_version_requestedAt_id_idx" ON "LoadBatch"("version", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "LoadBatch_retryOf_idx" ON "LoadBatch"("retryOf");

-- Requests for several devices from before this table.
INSERT INTO "LoadBatch" ("id", "kind", "module", "version", "selection", "loads", "rollback", "retryOf", "requestedAt", "requestedBy")
SELECT "batchId", min("kind"), min("module"), CASE WHEN min("version") = max("version") THEN min("version") END, NULL, count(*), max("rollback"), NULL, min("requestedAt"), min("requestedBy")
FROM "Load"
WHERE "rolloutId" IS NULL
GROUP BY "batchId"
HAVING count(*) > 1;

-- Statistics of a large installation, as for other tables.
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES
    ('LoadBatch', 'LoadBatch_requestedAt_id_idx', '100000 10 1'),
    ('LoadBatch', 'LoadBatch_module_requestedAt_id_idx', '100000 1000 2 1'),
    ('LoadBatch', 'LoadBatch_version_requestedAt_id_idx', '100000 1000 2 1'),
    ('LoadBatch', 'LoadBatch_retryOf_idx', '100000 2');
