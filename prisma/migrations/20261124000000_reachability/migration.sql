-- AlterTable
ALTER TABLE "Host" ADD COLUMN "tokenDigest" TEXT;
ALTER TABLE "Host" ADD COLUMN "unreachableSince" DATETIME;

-- AlterTable
ALTER TABLE "DeviceModule" ADD COLUMN "loadedAt" DATETIME;

-- AlterTable
ALTER TABLE "Load" ADD COLUMN "deadlineAt" DATETIME;
ALTER TABLE "Load" ADD COLUMN "dispatchedAt" DATETIME;

-- AlterTable
ALTER TABLE "AgentOrder" ADD COLUMN "loadId" TEXT;
ALTER TABLE "AgentOrder" ADD COLUMN "dispatchedAt" DATETIME;
ALTER TABLE "AgentOrder" ADD COLUMN "withdrawnAt" DATETIME;

-- DropIndex
DROP INDEX "Load_deviceId_idx";

-- DropIndex
DROP INDEX "Load_state_idx";

-- CreateIndex
CREATE UNIQUE INDEX "Host_tokenDigest_key" ON "Host"("tokenDigest");

-- CreateIndex
CREATE INDEX "Load_deviceId_state_idx" ON "Load"("deviceId", "state");

-- CreateIndex
CREATE INDEX "Load_state_deadlineAt_idx" ON "Load"("state", "deadlineAt");

-- CreateIndex
CREATE INDEX "AgentOrder_loadId_idx" ON "AgentOrder"("loadId");
