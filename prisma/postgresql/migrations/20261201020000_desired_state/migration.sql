-- Channels with promoted versions, assignments of groups to them, and the state of devices under assignments.
-- CreateTable
CREATE TABLE "Channel" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "description" TEXT COLLATE "C",
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "Channel_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "ChannelPromotion" (
    "id" TEXT COLLATE "C" NOT NULL,
    "channelId" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "contentId" TEXT COLLATE "C" NOT NULL,
    "promotedAt" TIMESTAMP(3) NOT NULL,
    "promotedBy" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "ChannelPromotion_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Assignment" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "groupId" TEXT COLLATE "C" NOT NULL,
    "channelId" TEXT COLLATE "C" NOT NULL,
    "kind" TEXT COLLATE "C" NOT NULL,
    "content" TEXT COLLATE "C" NOT NULL,
    "range" TEXT COLLATE "C" NOT NULL,
    "mode" TEXT COLLATE "C" NOT NULL,
    "priority" INTEGER NOT NULL,
    "devicesPerMinute" INTEGER NOT NULL,
    "rollout" JSONB NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "nextLoadAt" TIMESTAMP(3),

    CONSTRAINT "Assignment_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "AssignmentRollout" (
    "assignmentId" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "rolloutId" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "AssignmentRollout_pkey" PRIMARY KEY ("assignmentId", "version")
);

-- CreateTable
CREATE TABLE "DesiredState" (
    "deviceId" TEXT COLLATE "C" NOT NULL,
    "assignmentId" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "state" TEXT COLLATE "C" NOT NULL,
    "reason" TEXT COLLATE "C" NOT NULL,
    "detail" TEXT COLLATE "C",
    "loadId" TEXT COLLATE "C",
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "nextAttemptAt" TIMESTAMP(3),

    CONSTRAINT "DesiredState_pkey" PRIMARY KEY ("deviceId", "assignmentId")
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
