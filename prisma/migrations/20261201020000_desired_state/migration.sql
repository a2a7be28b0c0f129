-- Channels with promoted versions, assignments of groups to them, and the state of devices under assignments.
-- CreateTable
CREATE TABLE "Channel" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "createdAt" DATETIME NOT NULL
);

-- CreateTable
CREATE TABLE "ChannelPromotion" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "channelId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "contentId" TEXT NOT NULL,
    "promotedAt" DATETIME NOT NULL,
    "promotedBy" TEXT NOT NULL
);

-- CreateTable
CREATE TABLE "Assignment" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "groupId" TEXT NOT NULL,
    "channelId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "content" TEXT NOT NULL,
    "range" TEXT NOT NULL,
    "mode" TEXT NOT NULL,
    "priority" INTEGER NOT NULL,
    "devicesPerMinute" INTEGER NOT NULL,
    "rollout" JSONB NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "nextLoadAt" DATETIME
);

-- CreateTable
CREATE TABLE "AssignmentRollout" (
    "assignmentId" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "rolloutId" TEXT NOT NULL,

    PRIMARY KEY ("assignmentId", "version")
);

-- CreateTable
CREATE TABLE "DesiredState" (
    "deviceId" TEXT NOT NULL,
    "assignmentId" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "detail" TEXT,
    "loadId" TEXT,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "nextAttemptAt" DATETIME,

    PRIMARY KEY ("deviceId", "assignmentId")
);

-- CreateIndex
CREATE UNIQUE INDEX "Channel_name_key" ON "Channel"("name");

-- CreateIndex
CREATE INDEX "Channel_createdAt_id_idx" ON "Channel"("createdAt", "id");

-- CreateIndex
CREATE INDEX "ChannelPromotion_contentId_idx" ON "ChannelPromotion"("contentId");

-- CreateIndex
CREATE UNIQUE INDEX "ChannelPromotion_channelId_kind_name_version_key" ON "ChannelPromotion"("channelId", "kind", "name", "version");

-- CreateIndex
CREATE UNIQUE INDEX "Assignment_name_key" ON "Assignment"("name");

-- CreateIndex
CREATE INDEX "Assignment_createdAt_id_idx" ON "Assignment"("createdAt", "id");

-- CreateIndex
CREATE INDEX "Assignment_groupId_idx" ON "Assignment"("groupId");

-- CreateIndex
CREATE INDEX "Assignment_channelId_kind_content_idx" ON "Assignment"("channelId", "kind", "content");

-- CreateIndex
CREATE INDEX "DesiredState_assignmentId_state_reason_deviceId_idx" ON "DesiredState"("assignmentId", "state", "reason", "deviceId");

-- CreateIndex
CREATE INDEX "DesiredState_retry_idx" ON "DesiredState"("assignmentId", "nextAttemptAt") WHERE "nextAttemptAt" IS NOT NULL;
