-- The selected devices of a request that were unreachable.
ALTER TABLE "LoadBatch" ADD COLUMN "unreachable" JSONB;
