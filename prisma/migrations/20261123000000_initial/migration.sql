-- CreateTable
CREATE TABLE "Image" (
    "digest" TEXT NOT NULL PRIMARY KEY,
    "bytes" BLOB NOT NULL,
    "createdAt" DATETIME NOT NULL
);

-- CreateTable
CREATE TABLE "Build" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "language" TEXT NOT NULL,
    "compiler" TEXT NOT NULL,
    "sourceDigest" TEXT NOT NULL,
    "imageDigest" TEXT NOT NULL,
    "imageBytes" INTEGER NOT NULL,
    "interface" JSONB NOT NULL,
    "createdAt" DATETIME NOT NULL
);

-- CreateTable
CREATE TABLE "Host" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "bootId" TEXT NOT NULL,
    "capacity" INTEGER NOT NULL,
    "registeredAt" DATETIME NOT NULL
);

-- CreateTable
CREATE TABLE "Device" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "hostId" TEXT NOT NULL,
    "ramPages" INTEGER NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "attachedBootId" TEXT,
    "attachFailure" TEXT,
    "state" JSONB,
    "stateAt" DATETIME,
    CONSTRAINT "Device_hostId_fkey" FOREIGN KEY ("hostId") REFERENCES "Host" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "DeviceLabel" (
    "deviceId" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "value" TEXT NOT NULL,

    PRIMARY KEY ("deviceId", "key"),
    CONSTRAINT "DeviceLabel_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "DeviceModule" (
    "deviceId" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "imageDigest" TEXT NOT NULL,

    PRIMARY KEY ("deviceId", "module"),
    CONSTRAINT "DeviceModule_deviceId_fkey" FOREIGN KEY ("deviceId") REFERENCES "Device" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateTable
CREATE TABLE "Load" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "batchId" TEXT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "buildId" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "strategy" TEXT NOT NULL,
    "invalidation" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "outcome" TEXT,
    "reason" TEXT,
    "interrupted" INTEGER,
    "retried" INTEGER,
    "failed" INTEGER,
    "requestedAt" DATETIME NOT NULL,
    "completedAt" DATETIME,
    "report" JSONB
);

-- CreateTable
CREATE TABLE "HistoryEntry" (
    "number" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "deviceId" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "imageDigest" TEXT NOT NULL,
    "loadId" TEXT,
    "address" TEXT NOT NULL,
    "pages" INTEGER NOT NULL,
    "enteredAt" DATETIME NOT NULL,
    "leftAt" DATETIME,
    "leftBy" TEXT,
    "interrupted" INTEGER
);

-- CreateTable
CREATE TABLE "Program" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "deviceId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "export" TEXT NOT NULL,
    "type" JSONB NOT NULL,
    "arguments" JSONB NOT NULL,
    "threads" INTEGER NOT NULL,
    "calls" BIGINT,
    "pauseMilliseconds" INTEGER NOT NULL,
    "driverDigest" TEXT NOT NULL,
    "stopRequested" BOOLEAN NOT NULL DEFAULT false,
    "started" BOOLEAN NOT NULL DEFAULT false,
    "failure" TEXT,
    "statistics" JSONB,
    "createdAt" DATETIME NOT NULL
);

-- CreateTable
CREATE TABLE "AgentOrder" (
    "number" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "id" TEXT NOT NULL,
    "hostId" TEXT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "body" JSONB NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "settledAt" DATETIME
);

-- CreateTable
CREATE TABLE "AuditEvent" (
    "number" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "at" DATETIME NOT NULL,
    "actor" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "object" TEXT NOT NULL,
    "requestId" TEXT,
    "detail" JSONB NOT NULL
);

-- CreateTable
CREATE TABLE "IdempotentAnswer" (
    "key" TEXT NOT NULL PRIMARY KEY,
    "route" TEXT NOT NULL,
    "bodyDigest" TEXT NOT NULL,
    "status" INTEGER NOT NULL,
    "contentType" TEXT,
    "location" TEXT,
    "body" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL
);

-- CreateIndex
CREATE INDEX "Build_imageDigest_idx" ON "Build"("imageDigest");

-- CreateIndex
CREATE UNIQUE INDEX "Build_module_version_key" ON "Build"("module", "version");

-- CreateIndex
CREATE UNIQUE INDEX "Host_name_key" ON "Host"("name");

-- CreateIndex
CREATE UNIQUE INDEX "Device_name_key" ON "Device"("name");

-- CreateIndex
CREATE INDEX "Device_hostId_idx" ON "Device"("hostId");

-- CreateIndex
CREATE INDEX "DeviceLabel_key_value_idx" ON "DeviceLabel"("key", "value");

-- CreateIndex
CREATE INDEX "Load_batchId_idx" ON "Load"("batchId");

-- CreateIndex
CREATE INDEX "Load_deviceId_idx" ON "Load"("deviceId");

-- CreateIndex
CREATE INDEX "Load_state_idx" ON "Load"("state");

-- CreateIndex
CREATE INDEX "HistoryEntry_deviceId_module_idx" ON "HistoryEntry"("deviceId", "module");

-- CreateIndex
CREATE INDEX "Program_deviceId_idx" ON "Program"("deviceId");

-- CreateIndex
CREATE UNIQUE INDEX "AgentOrder_id_key" ON "AgentOrder"("id");

-- CreateIndex
CREATE INDEX "AgentOrder_hostId_settledAt_number_idx" ON "AgentOrder"("hostId", "settledAt", "number");

-- CreateIndex
CREATE INDEX "AgentOrder_deviceId_settledAt_idx" ON "AgentOrder"("deviceId", "settledAt");

-- CreateIndex
CREATE INDEX "AuditEvent_action_idx" ON "AuditEvent"("action");

-- CreateIndex
CREATE INDEX "AuditEvent_object_idx" ON "AuditEvent"("object");

-- CreateIndex
CREATE INDEX "IdempotentAnswer_createdAt_idx" ON "IdempotentAnswer"("createdAt");
