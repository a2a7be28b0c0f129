-- Texts are in the order of their bytes, whatever the database has by itself: pages and prefixes go by it.

-- CreateTable
CREATE TABLE "Image" (
    "digest" TEXT COLLATE "C" NOT NULL,
    "bytes" BYTEA NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "Image_pkey" PRIMARY KEY ("digest")
);

-- CreateTable
CREATE TABLE "Build" (
    "id" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "language" TEXT COLLATE "C" NOT NULL,
    "compiler" TEXT COLLATE "C" NOT NULL,
    "sourceDigest" TEXT COLLATE "C" NOT NULL,
    "imageDigest" TEXT COLLATE "C" NOT NULL,
    "imageBytes" INTEGER NOT NULL,
    "interface" JSONB NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "imagePrunedAt" TIMESTAMP(3),
    "pushedBy" TEXT COLLATE "C",
    "envelope" TEXT COLLATE "C",

    CONSTRAINT "Build_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Host" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "bootId" TEXT COLLATE "C" NOT NULL,
    "capacity" INTEGER NOT NULL,
    "registeredAt" TIMESTAMP(3) NOT NULL,
    "tokenDigest" TEXT COLLATE "C",
    "unreachableSince" TIMESTAMP(3),
    "heardAt" TIMESTAMP(3),
    "streamId" TEXT COLLATE "C",

    CONSTRAINT "Host_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Device" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "hostId" TEXT COLLATE "C" NOT NULL,
    "ramPages" INTEGER NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "attachedBootId" TEXT COLLATE "C",
    "attachFailure" TEXT COLLATE "C",
    "state" JSONB,
    "stateAt" TIMESTAMP(3),
    "labelsByOperator" BOOLEAN NOT NULL DEFAULT false,

    CONSTRAINT "Device_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "DeviceLabel" (
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "key" TEXT COLLATE "C" NOT NULL,
    "value" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "DeviceLabel_pkey" PRIMARY KEY ("deviceId","key")
);

-- CreateTable
CREATE TABLE "DeviceModule" (
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "imageDigest" TEXT COLLATE "C" NOT NULL,
    "loadedAt" TIMESTAMP(3),

    CONSTRAINT "DeviceModule_pkey" PRIMARY KEY ("deviceId","module")
);

-- CreateTable
CREATE TABLE "Load" (
    "id" TEXT COLLATE "C" NOT NULL,
    "batchId" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "buildId" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "strategy" TEXT COLLATE "C" NOT NULL,
    "invalidation" TEXT COLLATE "C" NOT NULL,
    "drainMilliseconds" INTEGER,
    "versionPolicy" TEXT COLLATE "C" NOT NULL DEFAULT 'newer',
    "downgradeReason" TEXT COLLATE "C",
    "similarityPolicy" TEXT COLLATE "C" NOT NULL DEFAULT 'require',
    "state" TEXT COLLATE "C" NOT NULL,
    "outcome" TEXT COLLATE "C",
    "reason" TEXT COLLATE "C",
    "interrupted" INTEGER,
    "retried" INTEGER,
    "failed" INTEGER,
    "requestedAt" TIMESTAMP(3) NOT NULL,
    "requestedBy" TEXT COLLATE "C",
    "rollback" BOOLEAN NOT NULL DEFAULT false,
    "rolloutId" TEXT COLLATE "C",
    "deadlineAt" TIMESTAMP(3),
    "dispatchedAt" TIMESTAMP(3),
    "completedAt" TIMESTAMP(3),

    CONSTRAINT "Load_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "LoadReport" (
    "loadId" TEXT COLLATE "C" NOT NULL,
    "body" JSONB NOT NULL,

    CONSTRAINT "LoadReport_pkey" PRIMARY KEY ("loadId")
);

-- CreateTable
CREATE TABLE "LoadTotal" (
    "outcome" TEXT COLLATE "C" NOT NULL,
    "loads" INTEGER NOT NULL,
    "interrupted" BIGINT NOT NULL,
    "failed" BIGINT NOT NULL,

    CONSTRAINT "LoadTotal_pkey" PRIMARY KEY ("outcome")
);

-- CreateTable
CREATE TABLE "HistoryEntry" (
    "number" SERIAL NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "imageDigest" TEXT COLLATE "C" NOT NULL,
    "loadId" TEXT COLLATE "C",
    "requestedBy" TEXT COLLATE "C",
    "address" TEXT COLLATE "C" NOT NULL,
    "pages" INTEGER NOT NULL,
    "enteredAt" TIMESTAMP(3) NOT NULL,
    "leftAt" TIMESTAMP(3),
    "leftBy" TEXT COLLATE "C",
    "leftThrough" TEXT COLLATE "C",
    "invalidation" TEXT COLLATE "C",
    "interrupted" INTEGER,

    CONSTRAINT "HistoryEntry_pkey" PRIMARY KEY ("number")
);

-- CreateTable
CREATE TABLE "Rollout" (
    "id" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C",
    "plan" JSONB NOT NULL,
    "state" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C",
    "rollbackOf" TEXT COLLATE "C",
    "requestedAt" TIMESTAMP(3) NOT NULL,
    "requestedBy" TEXT COLLATE "C" NOT NULL,
    "startedAt" TIMESTAMP(3),
    "endedAt" TIMESTAMP(3),
    "nextLoadAt" TIMESTAMP(3),
    "joinableUntil" TIMESTAMP(3),

    CONSTRAINT "Rollout_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "RolloutWave" (
    "rolloutId" TEXT COLLATE "C" NOT NULL,
    "number" INTEGER NOT NULL,
    "state" TEXT COLLATE "C" NOT NULL,
    "failure" TEXT COLLATE "C",
    "accepted" BOOLEAN NOT NULL DEFAULT false,
    "approvedBy" TEXT COLLATE "C",
    "startedAt" TIMESTAMP(3),
    "soakUntil" TIMESTAMP(3),
    "endedAt" TIMESTAMP(3),
    "measured" JSONB,
    "measuredAt" TIMESTAMP(3),

    CONSTRAINT "RolloutWave_pkey" PRIMARY KEY ("rolloutId","number")
);

-- CreateTable
CREATE TABLE "RolloutDevice" (
    "rolloutId" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "position" INTEGER NOT NULL,
    "wave" INTEGER NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "state" TEXT COLLATE "C" NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "loadId" TEXT COLLATE "C",
    "outcome" TEXT COLLATE "C",
    "reason" TEXT COLLATE "C",
    "previousVersion" TEXT COLLATE "C",
    "interrupted" INTEGER,
    "loadedAt" TIMESTAMP(3),
    "baseline" JSONB,
    "measured" JSONB,

    CONSTRAINT "RolloutDevice_pkey" PRIMARY KEY ("rolloutId","deviceId")
);

-- CreateTable
CREATE TABLE "Program" (
    "id" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "export" TEXT COLLATE "C" NOT NULL,
    "type" JSONB NOT NULL,
    "arguments" JSONB NOT NULL,
    "threads" INTEGER NOT NULL,
    "calls" BIGINT,
    "pauseMilliseconds" INTEGER NOT NULL,
    "recovery" TEXT COLLATE "C" NOT NULL DEFAULT 'module',
    "addressing" TEXT COLLATE "C" NOT NULL DEFAULT 'via-table',
    "deadlineMilliseconds" INTEGER,
    "driverDigest" TEXT COLLATE "C" NOT NULL,
    "stopRequested" BOOLEAN NOT NULL DEFAULT false,
    "started" BOOLEAN NOT NULL DEFAULT false,
    "failure" TEXT COLLATE "C",
    "statistics" JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "Program_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AbiViolation" (
    "number" SERIAL NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "bootId" TEXT COLLATE "C" NOT NULL,
    "programId" TEXT COLLATE "C" NOT NULL,
    "programName" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "address" TEXT COLLATE "C" NOT NULL,
    "page" INTEGER NOT NULL,
    "flag" TEXT COLLATE "C" NOT NULL,
    "at" TIMESTAMP(3) NOT NULL,
    "lastAt" TIMESTAMP(3) NOT NULL,
    "faults" BIGINT NOT NULL,

    CONSTRAINT "AbiViolation_pkey" PRIMARY KEY ("number")
);

-- CreateTable
CREATE TABLE "AgentOrder" (
    "number" SERIAL NOT NULL,
    "id" TEXT COLLATE "C" NOT NULL,
    "hostId" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "body" JSONB NOT NULL,
    "loadId" TEXT COLLATE "C",
    "createdAt" TIMESTAMP(3) NOT NULL,
    "withdrawnAt" TIMESTAMP(3),

    CONSTRAINT "AgentOrder_pkey" PRIMARY KEY ("number")
);

-- CreateTable
CREATE TABLE "AuditEvent" (
    "number" INTEGER NOT NULL,
    "at" TIMESTAMP(3) NOT NULL,
    "actor" TEXT COLLATE "C" NOT NULL,
    "action" TEXT COLLATE "C" NOT NULL,
    "object" TEXT COLLATE "C" NOT NULL,
    "outcome" TEXT COLLATE "C" NOT NULL,
    "requestId" TEXT COLLATE "C",
    "detail" JSONB NOT NULL,
    "previous" BYTEA NOT NULL,
    "hash" BYTEA NOT NULL,

    CONSTRAINT "AuditEvent_pkey" PRIMARY KEY ("number")
);

-- CreateTable
CREATE TABLE "AuditHead" (
    "id" INTEGER NOT NULL,
    "number" INTEGER NOT NULL,
    "hash" BYTEA NOT NULL,
    "at" TIMESTAMP(3) NOT NULL,
    "prunedThrough" INTEGER NOT NULL,

    CONSTRAINT "AuditHead_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AuditTile" (
    "level" INTEGER NOT NULL,
    "index" INTEGER NOT NULL,
    "root" BYTEA NOT NULL,
    "hashes" BYTEA NOT NULL,

    CONSTRAINT "AuditTile_pkey" PRIMARY KEY ("level","index")
);

-- CreateTable
CREATE TABLE "Checkpoint" (
    "size" INTEGER NOT NULL,
    "root" BYTEA NOT NULL,
    "at" TIMESTAMP(3) NOT NULL,
    "keyId" TEXT COLLATE "C" NOT NULL,
    "note" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "Checkpoint_pkey" PRIMARY KEY ("size")
);

-- CreateTable
CREATE TABLE "SigningKey" (
    "id" TEXT COLLATE "C" NOT NULL,
    "keyId" TEXT COLLATE "C" NOT NULL,
    "publicKey" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "retiredAt" TIMESTAMP(3),
    "endorsement" JSONB,
    "predecessor" TEXT COLLATE "C",

    CONSTRAINT "SigningKey_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "PublisherKey" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "keyId" TEXT COLLATE "C" NOT NULL,
    "publicKey" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "createdBy" TEXT COLLATE "C" NOT NULL,
    "revokedAt" TIMESTAMP(3),

    CONSTRAINT "PublisherKey_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "SignaturePolicy" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "deviceId" TEXT COLLATE "C",
    "labels" JSONB,
    "module" TEXT COLLATE "C",
    "publisherKeys" JSONB NOT NULL,
    "threshold" INTEGER NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "SignaturePolicy_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "ApiKey" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "role" TEXT COLLATE "C" NOT NULL,
    "host" TEXT COLLATE "C",
    "secretDigest" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "createdBy" TEXT COLLATE "C" NOT NULL,
    "lastUsedAt" TIMESTAMP(3),
    "revokedAt" TIMESTAMP(3),

    CONSTRAINT "ApiKey_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "IdempotentAnswer" (
    "actor" TEXT COLLATE "C" NOT NULL,
    "key" TEXT COLLATE "C" NOT NULL,
    "route" TEXT COLLATE "C" NOT NULL,
    "bodyDigest" TEXT COLLATE "C" NOT NULL,
    "status" INTEGER NOT NULL,
    "contentType" TEXT COLLATE "C",
    "location" TEXT COLLATE "C",
    "body" TEXT COLLATE "C" NOT NULL,
    "isSealed" BOOLEAN NOT NULL DEFAULT false,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "IdempotentAnswer_pkey" PRIMARY KEY ("actor","key")
);

-- CreateIndex
CREATE INDEX "Build_module_createdAt_id_idx" ON "Build"("module", "createdAt", "id");

-- CreateIndex
CREATE INDEX "Build_imageDigest_idx" ON "Build"("imageDigest");

-- CreateIndex
CREATE UNIQUE INDEX "Build_module_version_key" ON "Build"("module", "version");

-- CreateIndex
CREATE UNIQUE INDEX "Host_name_key" ON "Host"("name");

-- CreateIndex
CREATE UNIQUE INDEX "Host_tokenDigest_key" ON "Host"("tokenDigest");

-- CreateIndex
CREATE INDEX "Host_registeredAt_id_idx" ON "Host"("registeredAt", "id");

-- CreateIndex
CREATE UNIQUE INDEX "Device_name_key" ON "Device"("name");

-- CreateIndex
CREATE INDEX "Device_createdAt_id_idx" ON "Device"("createdAt", "id");

-- CreateIndex
CREATE INDEX "Device_hostId_createdAt_id_idx" ON "Device"("hostId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "Device_attachedBootId_createdAt_id_idx" ON "Device"("attachedBootId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "DeviceLabel_key_value_deviceId_idx" ON "DeviceLabel"("key", "value", "deviceId");

-- CreateIndex
CREATE INDEX "DeviceModule_module_version_deviceId_idx" ON "DeviceModule"("module", "version", "deviceId");

-- CreateIndex
CREATE INDEX "DeviceModule_version_deviceId_idx" ON "DeviceModule"("version", "deviceId");

-- CreateIndex
CREATE INDEX "Load_requestedAt_id_idx" ON "Load"("requestedAt", "id");

-- CreateIndex
CREATE INDEX "Load_batchId_requestedAt_id_idx" ON "Load"("batchId", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Load_deviceId_requestedAt_id_idx" ON "Load"("deviceId", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Load_module_requestedAt_id_idx" ON "Load"("module", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Load_version_module_requestedAt_id_idx" ON "Load"("version", "module", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Load_open_requestedAt_id_idx" ON "Load"("requestedAt", "id") WHERE ("outcome" IS NULL);

-- CreateIndex
CREATE INDEX "Load_open_deviceId_idx" ON "Load"("deviceId") WHERE ("outcome" IS NULL);

-- CreateIndex
CREATE INDEX "Load_open_deadlineAt_idx" ON "Load"("deadlineAt") WHERE ("outcome" IS NULL);

-- CreateIndex
CREATE INDEX "Load_ended_outcome_requestedAt_id_idx" ON "Load"("outcome", "requestedAt", "id") WHERE ("outcome" IS NOT NULL);

-- CreateIndex
CREATE INDEX "Load_ended_module_outcome_requestedAt_id_idx" ON "Load"("module", "outcome", "requestedAt", "id") WHERE ("outcome" IS NOT NULL);

-- CreateIndex
CREATE INDEX "HistoryEntry_deviceId_module_enteredAt_idx" ON "HistoryEntry"("deviceId", "module", "enteredAt");

-- CreateIndex
CREATE INDEX "HistoryEntry_deviceId_enteredAt_idx" ON "HistoryEntry"("deviceId", "enteredAt");

-- CreateIndex
CREATE INDEX "HistoryEntry_module_version_deviceId_enteredAt_leftAt_idx" ON "HistoryEntry"("module", "version", "deviceId", "enteredAt", "leftAt");

-- CreateIndex
CREATE UNIQUE INDEX "Rollout_rollbackOf_key" ON "Rollout"("rollbackOf");

-- CreateIndex
CREATE INDEX "Rollout_requestedAt_id_idx" ON "Rollout"("requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_state_requestedAt_id_idx" ON "Rollout"("state", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_module_requestedAt_id_idx" ON "Rollout"("module", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "Rollout_endedAt_requestedAt_id_idx" ON "Rollout"("endedAt", "requestedAt", "id");

-- CreateIndex
CREATE INDEX "RolloutDevice_rolloutId_wave_state_position_interrupted_idx" ON "RolloutDevice"("rolloutId", "wave", "state", "position", "interrupted");

-- CreateIndex
CREATE INDEX "RolloutDevice_rolloutId_position_idx" ON "RolloutDevice"("rolloutId", "position");

-- CreateIndex
CREATE INDEX "RolloutDevice_loadId_idx" ON "RolloutDevice"("loadId");

-- CreateIndex
CREATE INDEX "RolloutDevice_deviceId_idx" ON "RolloutDevice"("deviceId");

-- CreateIndex
CREATE INDEX "Program_deviceId_createdAt_id_idx" ON "Program"("deviceId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "AbiViolation_deviceId_at_idx" ON "AbiViolation"("deviceId", "at");

-- CreateIndex
CREATE UNIQUE INDEX "AbiViolation_deviceId_bootId_programId_version_address_key" ON "AbiViolation"("deviceId", "bootId", "programId", "version", "address");

-- CreateIndex
CREATE UNIQUE INDEX "AgentOrder_id_key" ON "AgentOrder"("id");

-- CreateIndex
CREATE INDEX "AgentOrder_hostId_withdrawnAt_number_idx" ON "AgentOrder"("hostId", "withdrawnAt", "number");

-- CreateIndex
CREATE INDEX "AgentOrder_loadId_idx" ON "AgentOrder"("loadId");

-- CreateIndex
CREATE INDEX "AuditEvent_at_idx" ON "AuditEvent"("at");

-- CreateIndex
CREATE INDEX "AuditEvent_action_at_idx" ON "AuditEvent"("action", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_object_at_idx" ON "AuditEvent"("object", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_actor_at_idx" ON "AuditEvent"("actor", "at");

-- CreateIndex
CREATE INDEX "AuditEvent_requestId_at_idx" ON "AuditEvent"("requestId", "at");

-- CreateIndex
CREATE INDEX "Checkpoint_at_size_idx" ON "Checkpoint"("at", "size");

-- CreateIndex
CREATE UNIQUE INDEX "SigningKey_keyId_key" ON "SigningKey"("keyId");

-- CreateIndex
CREATE INDEX "SigningKey_createdAt_id_idx" ON "SigningKey"("createdAt", "id");

-- CreateIndex
CREATE UNIQUE INDEX "PublisherKey_keyId_key" ON "PublisherKey"("keyId");

-- CreateIndex
CREATE INDEX "PublisherKey_createdAt_id_idx" ON "PublisherKey"("createdAt", "id");

-- CreateIndex
CREATE INDEX "PublisherKey_name_idx" ON "PublisherKey"("name");

-- CreateIndex
CREATE UNIQUE INDEX "SignaturePolicy_name_key" ON "SignaturePolicy"("name");

-- CreateIndex
CREATE INDEX "SignaturePolicy_createdAt_id_idx" ON "SignaturePolicy"("createdAt", "id");

-- CreateIndex
CREATE INDEX "ApiKey_createdAt_id_idx" ON "ApiKey"("createdAt", "id");

-- CreateIndex
CREATE INDEX "ApiKey_revokedAt_role_idx" ON "ApiKey"("revokedAt", "role");

-- CreateIndex
CREATE INDEX "IdempotentAnswer_createdAt_idx" ON "IdempotentAnswer"("createdAt");

-- AddForeignKey
ALTER TABLE "Device" ADD CONSTRAINT "Device_hostId_fkey" FOREIGN KEY ("hostId") REFERENCES "Host"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "DeviceLabel" ADD CONSTRAINT "DeviceLabel_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "DeviceModule" ADD CONSTRAINT "DeviceModule_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Load" ADD CONSTRAINT "Load_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "LoadReport" ADD CONSTRAINT "LoadReport_loadId_fkey" FOREIGN KEY ("loadId") REFERENCES "Load"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

INSERT INTO "AuditHead" ("id", "number", "hash", "at", "prunedThrough") VALUES (1, 0, '', '1970-01-01', 0);
