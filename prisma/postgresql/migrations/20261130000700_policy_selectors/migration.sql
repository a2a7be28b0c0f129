-- Signature policies may select devices by a label selector.
ALTER TABLE "SignaturePolicy" ADD COLUMN "selector" TEXT COLLATE "C";
