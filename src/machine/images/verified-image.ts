// Verified images: the only images a device accepts. Their stamp matches what a trusted signer has stated about exactly these bytes.

import { pinnedRecordExport } from '../abi.ts';
import { type Image, ImageError } from './image.ts';
import type { FunctionType } from './stamp.ts';

/** How a driver finds the module it calls. `via-table`: looks it up at every call. `hard-coded`: looks it up at the first call and keeps the address. */
export type Addressing = 'via-table' | 'hard-coded';

/** What an image's signer states about it; the caller has verified the signature. */
export type ImageStatement =
  | { readonly kind: 'module'; readonly digest: string; readonly module: string; readonly version: string }
  | {
      readonly kind: 'driver';
      readonly digest: string;
      /** The module that the driver calls. */
      readonly module: string;
      readonly export: string;
      readonly type: FunctionType;
      readonly addressing: Addressing;
    };

declare const verifiedBrand: unique symbol;
/** An image that `verifyImage` has accepted. */
export type VerifiedImage<Kind extends Image = Image> = Kind & { readonly [verifiedBrand]: true };

const verified = new WeakSet<Image>();

/**
 * Compares an image with a statement about it. The caller verifies the signature of the statement and decides which keys to trust. The stamp inside the
 * image proves nothing by itself.
 * @throws {ImageError} if the statement is about another image, or about another module, version or target than the stamp.
 */
export function verifyImage<Kind extends Image>(image: Kind, statement: ImageStatement): VerifiedImage<Kind> {
  const mismatch = findMismatch(image, statement);
  if (mismatch !== null) throw new ImageError(mismatch);
  verified.add(image);
  if (!isVerified(image)) throw new Error('the image was added to the verified set but is not in it');
  return image;
}

/** Returns whether `verifyImage` has accepted the image. */
export function isVerified<Kind extends Image>(image: Kind): image is VerifiedImage<Kind> {
  return verified.has(image);
}

/** Returns the message for an image that is not verified. */
export function unverifiedMessage({ digest }: Image): string {
  return `image ${digest} is not verified: call verifyImage with its signed statement first`;
}

function findMismatch(image: Image, statement: ImageStatement): string | null {
  const { digest, kind, stamp } = image;
  if (digest !== statement.digest) return `the statement is about image ${statement.digest}, expected ${digest}`;
  if (kind !== statement.kind) return `image ${digest} is stamped as a ${kind}, but its signed statement describes a ${statement.kind}`;
  if (statement.kind === 'module') {
    const { module, version } = statement;
    if (stamp.module === module && stamp.version === version) return null;
    return `image ${digest} is stamped as ${stamp.module}@${stamp.version}, but its signed statement describes ${module}@${version}`;
  }
  const target = `${statement.module}.${statement.export}`;
  const [access] = stamp.interface.imports;
  if (access === undefined || access.module !== statement.module || access.name !== statement.export)
    return `driver ${digest} calls ${access === undefined ? 'nothing' : `${access.module}.${access.name}`}, but its signed statement describes ${target}`;
  if (printType(access) !== printType(statement.type))
    return `driver ${digest} calls ${target} with the type ${printType(access)}, but its signed statement says ${printType(statement.type)}`;
  const isPinned = WebAssembly.Module.exports(image.code).some(({ name }) => name === pinnedRecordExport);
  if (isPinned !== (statement.addressing === 'hard-coded'))
    return `driver ${digest} has ${isPinned ? 'a hard-coded address' : 'no hard-coded address'}, but its signed statement says ${statement.addressing}`;
  return null;
}

const printType = ({ parameters, results }: FunctionType) => `(${parameters.join(', ')}) → (${results.join(', ')})`;
