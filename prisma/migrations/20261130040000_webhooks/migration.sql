-- CreateTable
CREATE TABLE "Webhook" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "eventTypes" JSONB NOT NULL,
    "selector" TEXT,
    "format" TEXT NOT NULL,
    "isEnabled" BOOLEAN NOT NULL,
    "disabledReason" TEXT,
    "sealedSecret" TEXT NOT NULL,
    "previousSecret" TEXT,
    "previousSecretUntil" DATETIME,
    "createdAt" DATETIME NOT NULL,
    "createdBy" TEXT NOT NULL,
    "cursor" INTEGER NOT NULL,
    "lastDeliveredAt" DATETIME,
    "failingSince" DATETIME,
    "lastError" TEXT,
    "attempts" INTEGER NOT NULL,
    "firstAttemptAt" DATETIME,
    "nextAttemptAt" DATETIME,
    "skippedAfter" INTEGER,
    "skippedThrough" INTEGER,
    "skippedAt" DATETIME
);

-- CreateTable
CREATE TABLE "ParkedEvent" (
    "webhookId" TEXT NOT NULL,
    "number" INTEGER NOT NULL,
    "event" JSONB NOT NULL,
    "attempts" INTEGER NOT NULL,
    "firstAttemptAt" DATETIME NOT NULL,
    "parkedAt" DATETIME NOT NULL,
    "lastError" TEXT NOT NULL,
    "replayRequestedAt" DATETIME,

    PRIMARY KEY ("webhookId", "number")
);

-- CreateIndex
CREATE UNIQUE INDEX "Webhook_name_key" ON "Webhook"("name");

-- CreateIndex
CREATE INDEX "Webhook_createdAt_id_idx" ON "Webhook"("createdAt", "id");
