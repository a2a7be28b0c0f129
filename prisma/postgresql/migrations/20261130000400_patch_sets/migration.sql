-- CreateTable
CREATE TABLE "PatchSet" (
    "id" TEXT COLLATE "C" NOT NULL,
    "name" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,
    "createdBy" TEXT COLLATE "C" NOT NULL,
    "envelope" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "PatchSet_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "PatchSetMember" (
    "patchSetId" TEXT COLLATE "C" NOT NULL,
    "module" TEXT COLLATE "C" NOT NULL,
    "version" TEXT COLLATE "C" NOT NULL,
    "buildId" TEXT COLLATE "C" NOT NULL,

    CONSTRAINT "PatchSetMember_pkey" PRIMARY KEY ("patchSetId","module")
);

-- CreateIndex
CREATE UNIQUE INDEX "PatchSet_name_version_key" ON "PatchSet"("name", "version");

-- CreateIndex
CREATE INDEX "PatchSet_createdAt_id_idx" ON "PatchSet"("createdAt", "id");

-- CreateIndex
CREATE INDEX "PatchSetMember_module_patchSetId_idx" ON "PatchSetMember"("module", "patchSetId");

-- CreateIndex
CREATE INDEX "PatchSetMember_buildId_idx" ON "PatchSetMember"("buildId");

-- AddForeignKey
ALTER TABLE "PatchSetMember" ADD CONSTRAINT "PatchSetMember_patchSetId_fkey" FOREIGN KEY ("patchSetId") REFERENCES "PatchSet"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "PatchSetMember" ADD CONSTRAINT "PatchSetMember_buildId_fkey" FOREIGN KEY ("buildId") REFERENCES "Build"("id") ON DELETE RESTRICT ON UPDATE CASCADE;
