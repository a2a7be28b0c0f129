-- CreateTable
CREATE TABLE "ModuleDependent" (
    "provider" TEXT NOT NULL,
    "importer" TEXT NOT NULL,
    "buildId" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL,

    PRIMARY KEY ("provider", "importer"),
    CONSTRAINT "ModuleDependent_buildId_fkey" FOREIGN KEY ("buildId") REFERENCES "Build" ("id") ON DELETE RESTRICT ON UPDATE CASCADE
);

-- CreateIndex
CREATE INDEX "ModuleDependent_provider_createdAt_importer_idx" ON "ModuleDependent"("provider", "createdAt", "importer");

-- The newest build of each module that imports another one. Builds with an unreadable interface have no dependents.
INSERT INTO "ModuleDependent" ("provider", "importer", "buildId", "createdAt")
SELECT "provider", "importer", "buildId", "createdAt" FROM (
    SELECT
        "provider", "importer", "buildId", "createdAt",
        ROW_NUMBER() OVER (PARTITION BY "provider", "importer" ORDER BY "createdAt" DESC, "buildId" DESC) AS "rank"
    FROM (
        SELECT json_extract("import"."value", '$.module') AS "provider", "Build"."module" AS "importer", "Build"."id" AS "buildId", "Build"."createdAt"
        FROM "Build", json_each(CASE WHEN json_valid("interface") THEN "interface" ELSE '{}' END, '$.imports') AS "import"
        WHERE "import"."type" = 'object'
    )
    WHERE typeof("provider") = 'text' AND "provider" <> 'kernel'
)
WHERE "rank" = 1;
