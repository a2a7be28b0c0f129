-- CreateTable
CREATE TABLE "ModuleDependent" (
    "provider" TEXT COLLATE "C" NOT NULL,
    "importer" TEXT COLLATE "C" NOT NULL,
    "buildId" TEXT COLLATE "C" NOT NULL,
    "createdAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "ModuleDependent_pkey" PRIMARY KEY ("provider","importer")
);

-- CreateIndex
CREATE INDEX "ModuleDependent_provider_createdAt_importer_idx" ON "ModuleDependent"("provider", "createdAt", "importer");

-- AddForeignKey
ALTER TABLE "ModuleDependent" ADD CONSTRAINT "ModuleDependent_buildId_fkey" FOREIGN KEY ("buildId") REFERENCES "Build"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- The newest build of each module that imports another one.
INSERT INTO "ModuleDependent" ("provider", "importer", "buildId", "createdAt")
SELECT DISTINCT ON ("provider", "importer") "provider", "importer", "buildId", "createdAt" FROM (
    SELECT "import"->>'module' AS "provider", "Build"."module" AS "importer", "Build"."id" AS "buildId", "Build"."createdAt"
    FROM "Build", jsonb_array_elements(
        CASE WHEN jsonb_typeof("interface"->'imports') = 'array' THEN "interface"->'imports' ELSE '[]'::jsonb END
    ) AS "import"
) AS "links"
WHERE "provider" IS NOT NULL AND "provider" <> 'kernel'
ORDER BY "provider", "importer", "createdAt" DESC, "buildId" DESC;
