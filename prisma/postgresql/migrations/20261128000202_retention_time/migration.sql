-- CreateTable
CREATE TABLE "RetentionTime" (
    "id" INTEGER NOT NULL,
    "at" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "RetentionTime_pkey" PRIMARY KEY ("id")
);
