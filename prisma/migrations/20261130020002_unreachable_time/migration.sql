-- How long a running service has found a host unreachable.
ALTER TABLE "Host" ADD COLUMN "unreachableMilliseconds" BIGINT NOT NULL DEFAULT 0;
