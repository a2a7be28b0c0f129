-- CreateTable
CREATE TABLE "LoadBatch" (
    "id" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C",
    "selection" JSONB,
    "loads" INTEGER NOT NULL,
    "rollback" BOOLEAN NOT NULL,
    "retryOf" TEXT COLLATE "C",
    "requestedAt" TIMESTAMP(3) NOT NULL,
    "requestedBy" TEXT COLLATE "C",

    CONSTRAINT "LoadBatch_pkey" PRIMARY KEY ("id")
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
SELECT "batchId", min("kind"), min("module"), CASE WHEN min("version") = max("version") THEN min("version") END, NULL, count(*), bool_or("rollback"), NULL, min("requestedAt"), min("requestedBy")
FROM "Load"
WHERE "rolloutId" IS NULL
GROUP BY "batchId"
HAVING count(*) > 1;
