// Verifies images that a test has compiled itself, with their own stamps as statements.

import { pinnedRecordExport } from '../../src/machine/abi.ts';
import { type Image, type ImageStatement, readImage, type VerifiedImage, verifyImage } from '../../src/machine/index.ts';

/** Reads an image, so that a device accepts it without a signed statement. */
export function readVerified(bytes: Uint8Array, digest: string): VerifiedImage {
  return verified(readImage(new Uint8Array(bytes), digest));
}

/** Verifies an image that a test has changed. */
export function verified(image: Image): VerifiedImage {
  return verifyImage(image, statementOf(image));
}

function statementOf({ digest, stamp, code }: Image): ImageStatement {
  const { module, version } = stamp;
  if (stamp.kind === 'module') return { kind: 'module', digest, module, version };
  const [access] = stamp.interface.imports;
  if (access === undefined) throw new Error('a driver calls one export');
  const isPinned = WebAssembly.Module.exports(code).some(({ name }) => name === pinnedRecordExport);
  const target = { module: access.module, export: access.name, type: access };
  return { kind: 'driver', digest, ...target, addressing: isPinned ? 'hard-coded' : 'via-table' };
}
