-- AlterTable: builds from before have no statement yet; the service signs one of each when it starts.
ALTER TABLE "Build" ADD COLUMN "pushedBy" TEXT;
ALTER TABLE "Build" ADD COLUMN "envelope" TEXT;

-- AlterTable: keys from before have signed no statement of a build, and none that comes after vouches for them.
ALTER TABLE "SigningKey" ADD COLUMN "predecessor" TEXT;

-- CreateTable
CREATE TABLE "PublisherKey" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "keyId" TEXT NOT NULL,
    "publicKey" TEXT NOT NULL,
    "createdAt" DATETIME NOT NULL,
    "createdBy" TEXT NOT NULL,
    "revokedAt" DATETIME
);

-- CreateTable
CREATE TABLE "SignaturePolicy" (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL,
    "deviceId" TEXT,
    "labels" JSONB,
    "module" TEXT,
    "publisherKeys" JSONB NOT NULL,
    "threshold" INTEGER NOT NULL,
    "createdAt" DATETIME NOT NULL
);

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
