-- CreateTable
CREATE TABLE "PatchSet" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "createdBy" TEXT NOT NULL,
    "envelope" TEXT NOT NULL
);

-- CreateTable
CREATE TABLE "PatchSetMember" (
    "patchSetId" TEXT NOT NULL,
    "module" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "buildId" TEXT NOT NULL,

    PRIMARY KEY ("patchSetId", "module"),
    CONSTRAINT "PatchSetMember_patchSetId_fkey" FOREIGN KEY ("patchSetId") REFERENCES "PatchSet" ("id") ON DELETE RESTRICT ON UPDATE CASCADE,
    CONSTRAINT "PatchSetMember_buildId_fkey" FOREIGN KEY ("buildId") REFERENCES "Build" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateIndex
CREATE UNIQUE INDEX "PatchSet_name_version_key" ON "PatchSet"("name", "version");

-- CreateIndex
CREATE INDEX "PatchSet_createdAt_id_idx" ON "PatchSet"("createdAt", "id");

-- CreateIndex
CREATE INDEX "PatchSetMember_module_patchSetId_idx" ON "PatchSetMember"("module", "patchSetId");

-- CreateIndex
CREATE INDEX "PatchSetMember_buildId_idx" ON "PatchSetMember"("buildId");
