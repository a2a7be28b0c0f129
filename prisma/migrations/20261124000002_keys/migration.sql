-- CreateTable
CREATE TABLE "ApiKey" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "host" TEXT,
    "secretDigest" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "createdBy" TEXT NOT NULL,
    "lastUsedAt" DATETIME,
    "revokedAt" DATETIME
);

-- CreateIndex
CREATE INDEX "ApiKey_revokedAt_role_idx" ON "ApiKey"("revokedAt", "role");

-- RedefineTables
PRAGMA defer_foreign_keys=ON;
PRAGMA foreign_keys=OFF;
CREATE TABLE "new_IdempotentAnswer" (
    "actor" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "route" TEXT NOT NULL,
    "bodyDigest" TEXT NOT NULL,
    "status" INTEGER NOT NULL,
    "contentType" TEXT,
    "location" TEXT,
    "body" TEXT NOT NULL,
    "isSealed" BOOLEAN NOT NULL DEFAULT false,
    "createdAt" DATETIME NOT NULL,

    PRIMARY KEY ("actor", "key")
);
INSERT INTO "new_IdempotentAnswer" ("actor", "key", "route", "bodyDigest", "status", "contentType", "location", "body", "createdAt") SELECT 'anonymous', "key", "route", "bodyDigest", "status", "contentType", "location", "body", "createdAt" FROM "IdempotentAnswer";
DROP TABLE "IdempotentAnswer";
ALTER TABLE "new_IdempotentAnswer" RENAME TO "IdempotentAnswer";
CREATE INDEX "IdempotentAnswer_createdAt_idx" ON "IdempotentAnswer"("createdAt");
PRAGMA foreign_keys=ON;
PRAGMA defer_foreign_keys=OFF;
