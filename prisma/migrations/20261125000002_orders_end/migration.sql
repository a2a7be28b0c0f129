-- An order goes when a report has settled it, or when it was withdrawn before its host was sent it: nobody asks for it any more.
DELETE FROM "AgentOrder" WHERE "settledAt" IS NOT NULL OR ("withdrawnAt" IS NOT NULL AND "dispatchedAt" IS NULL);

-- DropIndex
DROP INDEX "AgentOrder_unsettled_hostId_number_idx";

-- AlterTable: when a load was sent to its host is in the load.
ALTER TABLE "AgentOrder" DROP COLUMN "dispatchedAt";
ALTER TABLE "AgentOrder" DROP COLUMN "settledAt";

-- CreateIndex
CREATE INDEX "AgentOrder_hostId_withdrawnAt_number_idx" ON "AgentOrder"("hostId", "withdrawnAt", "number");

INSERT INTO "sqlite_stat1" ("tbl", "idx", "stat") VALUES ('AgentOrder', 'AgentOrder_hostId_withdrawnAt_number_idx', '10000 1000 500 1');
