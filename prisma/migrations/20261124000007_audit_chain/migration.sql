-- The audit trail becomes a chain of hashes. SQL cannot compute them: the service gives the events that are there theirs when it starts.

-- RedefineTables
CREATE TABLE "new_AuditEvent" (
    "number" INTEGER NOT NULL PRIMARY KEY,
    "at" DATETIME NOT NULL,
    "actor" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "object" TEXT NOT NULL,
    "outcome" TEXT NOT NULL,
    "requestId" TEXT,
    "detail" JSONB NOT NULL,
    "previous" BLOB NOT NULL,
    "hash" BLOB NOT NULL
);
-- In the order of their numbers and without a gap, which the rolling back of a transaction never left.
INSERT INTO "new_AuditEvent" ("number", "at", "actor", "action", "object", "outcome", "requestId", "detail", "previous", "hash")
    SELECT "number", "at", "actor", "action", "object",
        CASE
            WHEN json_extract("detail", '$.outcome') LIKE 'refused-%' THEN 'refused'
            WHEN json_extract("detail", '$.outcome') IN ('failed', 'expired') OR json_extract("detail", '$.failure') IS NOT NULL THEN 'failed'
            ELSE 'succeeded'
        END,
        "requestId", "detail", x'', x''
    FROM "AuditEvent";
DROP TABLE "AuditEvent";
ALTER TABLE "new_AuditEvent" RENAME TO "AuditEvent";
CREATE INDEX "AuditEvent_at_idx" ON "AuditEvent"("at");
CREATE INDEX "AuditEvent_action_at_idx" ON "AuditEvent"("action", "at");
CREATE INDEX "AuditEvent_object_at_idx" ON "AuditEvent"("object", "at");
CREATE INDEX "AuditEvent_actor_at_idx" ON "AuditEvent"("actor", "at");
CREATE INDEX "AuditEvent_requestId_at_idx" ON "AuditEvent"("requestId", "at");

-- CreateTable
CREATE TABLE "AuditHead" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "number" INTEGER NOT NULL,
    "hash" BLOB NOT NULL,
    "at" DATETIME NOT NULL,
    "prunedThrough" INTEGER NOT NULL
);
INSERT INTO "AuditHead" ("id", "number", "hash", "at", "prunedThrough") VALUES (1, 0, x'', 0, 0);

-- CreateTable
CREATE TABLE "AuditTile" (
    "level" INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    "root" BLOB NOT NULL,
    "hashes" BLOB NOT NULL,

    PRIMARY KEY ("level", "index")
);

-- CreateTable
CREATE TABLE "Checkpoint" (
    "size" INTEGER NOT NULL PRIMARY KEY,
    "root" BLOB NOT NULL,
    "at" DATETIME NOT NULL,
    "keyId" TEXT NOT NULL,
    "note" TEXT NOT NULL
);
CREATE INDEX "Checkpoint_at_size_idx" ON "Checkpoint"("at", "size");

-- CreateTable
CREATE TABLE "SigningKey" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "keyId" TEXT NOT NULL,
    "publicKey" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "retiredAt" DATETIME,
    "endorsement" JSONB
);
CREATE UNIQUE INDEX "SigningKey_keyId_key" ON "SigningKey"("keyId");
CREATE INDEX "SigningKey_createdAt_id_idx" ON "SigningKey"("createdAt", "id");

-- What was said of the table that was dropped.
INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES
    ('AuditEvent', 'AuditEvent_at_idx', '1000000 10'),
    ('AuditEvent', 'AuditEvent_action_at_idx', '1000000 50000 10'),
    ('AuditEvent', 'AuditEvent_object_at_idx', '1000000 10 1'),
    ('AuditEvent', 'AuditEvent_actor_at_idx', '1000000 100000 10'),
    ('AuditEvent', 'AuditEvent_requestId_at_idx', '1000000 10 10');
