// Images that a device takes: those whose stamp says what a signer whom the host trusts has stated of exactly these bytes.

import { pinnedRecordExport } from '../abi.ts';
import { type Image, ImageError } from './image.ts';
import type { FunctionType } from './stamp.ts';

/** How a driver finds the module that it calls. `via-table`: at every call. `hard-coded`: at the first, and then it keeps the address. */
export type Addressing = 'via-table' | 'hard-coded';

/** What the signer of an image states of it, once the signature has been verified. */
export type ImageStatement =
  | { readonly kind: 'module'; readonly digest: string; readonly module: string; readonly version: string }
  | {
      readonly kind: 'driver';
      readonly digest: string;
      /** What the driver calls. */
      readonly module: string;
      readonly export: string;
      readonly type: FunctionType;
      readonly addressing: Addressing;
    };

declare const verifiedMark: unique symbol;
/** An image that `verifyImage` has let pass: the only kind that a device loads or runs. */
export type VerifiedImage<Kind extends Image = Image> = Kind & { readonly [verifiedMark]: true };

const verified = new WeakSet<Image>();

/**
 * Compares an image with a statement of it. The signature under the statement is verified by the caller, who knows which keys to trust; the stamp
 * inside the image is nothing but the image's own word until then.
 * @throws {ImageError} when the statement is of another image, or of another module, version or target than the stamp.
 */
export function verifyImage<Kind extends Image>(image: Kind, statement: ImageStatement): VerifiedImage<Kind> {
  const fault = statementFault(image, statement);
  if (fault !== null) throw new ImageError(fault);
  verified.add(image);
  if (!isVerified(image)) throw new Error('an image that was verified is remembered');
  return image;
}

/** Whether `verifyImage` has let the image pass. */
export function isVerified<Kind extends Image>(image: Kind): image is VerifiedImage<Kind> {
  return verified.has(image);
}

/** What a device says of an image that was not verified. */
export function unverifiedMessage({ digest }: Image): string {
  return `the image ${digest} was not verified: compare it with its signed statement first (verifyImage)`;
}

function statementFault(image: Image, statement: ImageStatement): string | null {
  const { digest, kind, stamp } = image;
  if (digest !== statement.digest) return `the statement is of the image ${statement.digest}, not of ${digest}`;
  if (kind !== statement.kind) return `the image ${digest} is stamped as a ${kind}, and its signed statement is of a ${statement.kind}`;
  if (statement.kind === 'module') {
    const { module, version } = statement;
    if (stamp.module === module && stamp.version === version) return null;
    return `the image ${digest} is stamped as ${stamp.module}@${stamp.version}, and its signed statement is of ${module}@${version}`;
  }
  const target = `${statement.module}.${statement.export}`;
  const [access] = stamp.interface.imports;
  if (access === undefined || access.module !== statement.module || access.name !== statement.export)
    return `the driver ${digest} calls ${access === undefined ? 'nothing' : `${access.module}.${access.name}`}, and its signed statement is of ${target}`;
  if (typeText(access) !== typeText(statement.type))
    return `the driver ${digest} calls ${target} with the type ${typeText(access)}, and its signed statement says ${typeText(statement.type)}`;
  const isPinned = WebAssembly.Module.exports(image.code).some(({ name }) => name === pinnedRecordExport);
  if (isPinned !== (statement.addressing === 'hard-coded'))
    return `the driver ${digest} has ${isPinned ? 'a hard-coded address' : 'no hard-coded address'}, and its signed statement says ${statement.addressing}`;
  return null;
}

const typeText = ({ parameters, results }: FunctionType) => `(${parameters.join(', ')}) → (${results.join(', ')})`;
