-- DropIndex
DROP INDEX "AgentOrder_hostId_settledAt_number_idx";

-- CreateIndex
CREATE INDEX "AgentOrder_settledAt_hostId_number_idx" ON "AgentOrder"("settledAt", "hostId", "number");
