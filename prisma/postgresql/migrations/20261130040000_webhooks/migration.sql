-- CreateTable
CREATE TABLE "Webhook" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "url" TEXT COLLATE "C" NOT NULL,
    "eventTypes" JSONB NOT NULL,
    "selector" TEXT COLLATE "C",
    "format" TEXT COLLATE "C" NOT NULL,
    "isEnabled" BOOLEAN NOT NULL,
    "disabledReason" TEXT COLLATE "C",
    "sealedSecret" TEXT COLLATE "C" NOT NULL,
    "previousSecret" TEXT COLLATE "C",
    "previousSecretUntil" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL,
    "createdBy" TEXT COLLATE "C" NOT NULL,
    "cursor" INTEGER NOT NULL,
    "lastDeliveredAt" TIMESTAMP(3),
    "failingSince" TIMESTAMP(3),
    "lastError" TEXT COLLATE "C",
    "attempts" INTEGER NOT NULL,
    "firstAttemptAt" TIMESTAMP(3),
    "nextAttemptAt" TIMESTAMP(3),
    "skippedAfter" INTEGER,
    "skippedThrough" INTEGER,
    "skippedAt" TIMESTAMP(3),

    CONSTRAINT "Webhook_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "ParkedEvent" (
    "webhookId" TEXT COLLATE "C" NOT NULL,
    "number" INTEGER NOT NULL,
    "event" JSONB NOT NULL,
    "attempts" INTEGER NOT NULL,
    "firstAttemptAt" TIMESTAMP(3) NOT NULL,
    "parkedAt" TIMESTAMP(3) NOT NULL,
    "lastError" TEXT COLLATE "C" NOT NULL,
    "replayRequestedAt" TIMESTAMP(3),

    CONSTRAINT "ParkedEvent_pkey" PRIMARY KEY ("webhookId", "number")
);

-- CreateIndex
CREATE UNIQUE INDEX "Webhook_name_key" ON "Webhook"("name");

-- CreateIndex
CREATE INDEX "Webhook_createdAt_id_idx" ON "Webhook"("createdAt", "id");
