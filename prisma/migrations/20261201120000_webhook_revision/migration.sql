-- AlterTable
ALTER TABLE "Webhook" ADD COLUMN "revision" INTEGER NOT NULL DEFAULT 0;

-- CreateIndex
CREATE INDEX "ParkedEvent_replay_idx" ON "ParkedEvent"("webhookId") WHERE "replayRequestedAt" IS NOT NULL;
