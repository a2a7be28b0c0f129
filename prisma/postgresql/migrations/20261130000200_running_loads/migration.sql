-- AlterTable
ALTER TABLE "Host" ADD COLUMN "capabilities" TEXT COLLATE "C" NOT NULL DEFAULT '';

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "drainingSince" TIMESTAMP(3);

-- CreateIndex
CREATE INDEX "AgentOrder_urgent_idx" ON "AgentOrder"("hostId", "number") WHERE "kind" IN ('inject-load', 'cancel-load');
