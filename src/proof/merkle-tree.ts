// The Merkle tree of RFC 6962 over an append-only list. Its root identifies the whole list; a few hashes prove that an entry is in the list, or that the
// list has only grown.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Bytes, isSameBytes } from './bytes.ts';

export type Hash = Bytes;

/** Bytes of a hash. */
export const hashBytes = 32;

const nodePrefix = Uint8Array.of(1);

/** Returns the hash of an entry (RFC 6962, 2.1). */
export function leafHash(entry: string): Hash {
  return sha256(utf8ToBytes(`\0${entry}`));
}

/** Returns the hash of an inner node. */
export function nodeHash(left: Hash, right: Hash): Hash {
  return sha256(concatBytes(nodePrefix, left, right));
}

/** The root of an empty tree. */
export const emptyRoot: Hash = sha256(new Uint8Array());

/** Returns whether two hashes are equal. */
export const isSameHash: (left: Hash, right: Hash) => boolean = isSameBytes;

/** Formats a hash as `sha256:` and 64 hexadecimal digits. */
export function formatHash(hash: Hash): string {
  return `sha256:${bytesToHex(hash)}`;
}

/** Parses a hash of the form `sha256:` and 64 hexadecimal digits. @throws {TypeError} */
export function parseHash(text: string): Hash {
  const [, digits] = /^sha256:([0-9a-f]{64})$/.exec(text) ?? [];
  if (digits === undefined) throw new TypeError(`expected "sha256:" and 64 hexadecimal digits, received "${text.slice(0, 100)}"`);
  return hexToBytes(digits);
}

/** Reads the root of the complete subtree of 2^level leaves with the given index among the subtrees of that size. */
export type ReadSubtree = (level: number, index: number) => Promise<Hash>;

/** Returns the root of the tree over the first `size` leaves. */
export function computeRoot(read: ReadSubtree, size: number): Promise<Hash> {
  return size === 0 ? Promise.resolve(emptyRoot) : rangeRoot(read, 0, size);
}

/** Returns the inclusion proof of a leaf in the tree over the first `size` leaves: the sibling hashes on its path to the root (RFC 6962, 2.1.1). */
export function inclusionProof(read: ReadSubtree, index: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size))
    throw new RangeError(`expected a leaf from 0 to ${size - 1}, received ${index}`);
  return pathOf(read, index, 0, size);
}

/** Returns the consistency proof that the tree over `size` leaves extends the tree over `from` leaves (RFC 6962, 2.1.2). */
export async function consistencyProof(read: ReadSubtree, from: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(from) && from > 0 && from <= size))
    throw new RangeError(`expected an earlier size from 1 to ${size}, received ${from}`);
  return subproof(read, from, 0, size, true);
}

/** Verifies an inclusion proof (RFC 9162, 2.1.3.2). */
export function verifyInclusion(leaf: Hash, index: number, size: number, proof: readonly Hash[], root: Hash): boolean {
  if (!(index >= 0 && index < size)) return false;
  let [node, last, hash] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else hash = nodeHash(hash, sibling);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(hash, root);
}

/** Verifies a consistency proof (RFC 9162, 2.1.4.2). */
export function verifyConsistency(from: number, size: number, proof: readonly Hash[], fromRoot: Hash, root: Hash): boolean {
  if (!(from > 0 && from <= size)) return false;
  if (from === size) return proof.length === 0 && isSameHash(fromRoot, root);
  const isWhole = Number.isInteger(Math.log2(from));
  const [seed, ...rest] = isWhole ? [fromRoot, ...proof] : proof;
  if (seed === undefined) return false;
  let [node, last] = [from - 1, size - 1];
  while (node % 2 === 1) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  let [first, second] = [seed, seed];
  for (const hash of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      [first, second] = [nodeHash(hash, first), nodeHash(hash, second)];
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else second = nodeHash(second, hash);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && isSameHash(first, fromRoot) && isSameHash(second, root);
}

/** Returns the complete subtrees that cover the first `size` leaves, the largest first. A tree can grow from their roots alone. */
export function completeSubtrees(size: number): { readonly level: number; readonly index: number }[] {
  const subtrees: { level: number; index: number }[] = [];
  let start = 0;
  while (start < size) {
    const level = Math.floor(Math.log2(size - start));
    subtrees.push({ level, index: start / 2 ** level });
    start += 2 ** level;
  }
  return subtrees;
}

/** Builds a tree leaf by leaf. Stores the roots of its complete subtrees only. */
export class MerkleTreeBuilder {
  #size: number;
  /** Roots of the complete subtrees, the largest first. */
  readonly #subtrees: { readonly level: number; readonly root: Hash }[];

  /**
   * @param size Initial number of leaves.
   * @param roots Roots of the complete subtrees that cover these leaves, the largest first.
   * @throws {RangeError} if the number of roots is wrong.
   */
  constructor(size = 0, roots: readonly Hash[] = []) {
    const subtrees = completeSubtrees(size);
    if (subtrees.length !== roots.length)
      throw new RangeError(`expected ${subtrees.length} roots of subtrees for ${size} leaves, received ${roots.length}`);
    this.#size = size;
    this.#subtrees = subtrees.flatMap(({ level }, place) => {
      const root = roots[place];
      return root === undefined ? [] : [{ level, root }];
    });
  }

  get size(): number {
    return this.#size;
  }

  add(leaf: Hash): void {
    this.#size += 1;
    let added = { level: 0, root: leaf };
    for (let last = this.#subtrees.at(-1); last?.level === added.level; last = this.#subtrees.at(-1)) {
      this.#subtrees.pop();
      added = { level: added.level + 1, root: nodeHash(last.root, added.root) };
    }
    this.#subtrees.push(added);
  }

  get root(): Hash {
    const roots = this.#subtrees.map(({ root }) => root);
    return roots.length === 0 ? emptyRoot : roots.reduceRight((right, left) => nodeHash(left, right));
  }
}

async function pathOf(read: ReadSubtree, index: number, start: number, end: number): Promise<Hash[]> {
  if (end - start === 1) return [];
  const middle = start + splitOf(end - start);
  return index < middle
    ? [...(await pathOf(read, index, start, middle)), await rangeRoot(read, middle, end)]
    : [...(await pathOf(read, index, middle, end)), await rangeRoot(read, start, middle)];
}

/** Returns the subproof of RFC 6962, 2.1.2. @param isRootKnown Whether the verifier knows the root of the tree over `from` leaves. */
async function subproof(read: ReadSubtree, from: number, start: number, end: number, isRootKnown: boolean): Promise<Hash[]> {
  if (from === end) return isRootKnown ? [] : [await rangeRoot(read, start, end)];
  const middle = start + splitOf(end - start);
  return from <= middle
    ? [...(await subproof(read, from, start, middle, isRootKnown)), await rangeRoot(read, middle, end)]
    : [...(await subproof(read, from, middle, end, false)), await rangeRoot(read, start, middle)];
}

/** Returns the root over the leaves [start, end). `start` is a multiple of the size of the smallest complete subtree that contains the range. */
async function rangeRoot(read: ReadSubtree, start: number, end: number): Promise<Hash> {
  const level = Math.log2(end - start);
  if (Number.isInteger(level)) return read(level, start / 2 ** level);
  const middle = start + splitOf(end - start);
  return nodeHash(await rangeRoot(read, start, middle), await rangeRoot(read, middle, end));
}

/** Returns the greatest power of two that is less than `size`. */
function splitOf(size: number): number {
  return 2 ** Math.floor(Math.log2(size - 1));
}
