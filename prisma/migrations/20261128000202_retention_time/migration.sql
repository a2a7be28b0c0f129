-- CreateTable
CREATE TABLE "RetentionTime" (
    "id" INTEGER NOT NULL PRIMARY KEY,
    "at" DATETIME NOT NULL
);
