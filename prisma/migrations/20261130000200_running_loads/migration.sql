-- AlterTable
ALTER TABLE "Host" ADD COLUMN "capabilities" TEXT NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "drainingSince" DATETIME;

-- CreateIndex
CREATE INDEX "AgentOrder_urgent_idx" ON "AgentOrder"("hostId", "number") WHERE "kind" IN ('inject-load', 'cancel-load');
