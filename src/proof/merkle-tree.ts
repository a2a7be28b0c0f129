// The Merkle tree of RFC 6962 over a list that only grows: its root says the whole list, and a few hashes prove what is in it and that it has only grown.

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { type Bytes, isSameBytes } from './bytes.ts';

export type Hash = Bytes;

/** Bytes of a hash. */
export const hashBytes = 32;

const nodePrefix = Uint8Array.of(1);

/** The hash of an entry of the list, a text (RFC 6962, 2.1). */
export function leafHash(entry: string): Hash {
  return sha256(utf8ToBytes(`\0${entry}`));
}

/** The hash over two neighbours. */
export function nodeHash(left: Hash, right: Hash): Hash {
  return sha256(concatBytes(nodePrefix, left, right));
}

/** The root of a tree without entries. */
export const emptyRoot: Hash = sha256(new Uint8Array());

/** Whether two hashes are the same. */
export const isSameHash: (left: Hash, right: Hash) => boolean = isSameBytes;

/** A hash as it is written: `sha256:` and 64 hexadecimal digits. */
export function formatHash(hash: Hash): string {
  return `sha256:${bytesToHex(hash)}`;
}

/** What is written so. @throws {TypeError} */
export function parseHash(text: string): Hash {
  const [, digits] = /^sha256:([0-9a-f]{64})$/.exec(text) ?? [];
  if (digits === undefined) throw new TypeError(`"${text.slice(0, 100)}" is no hash: one is "sha256:" and 64 hexadecimal digits`);
  return hexToBytes(digits);
}

/** Reads the root of a whole subtree of 2^level leaves, the one of that number among its like. */
export type ReadSubtree = (level: number, index: number) => Promise<Hash>;

/** The root of the tree over the first `size` leaves. */
export function computeRoot(read: ReadSubtree, size: number): Promise<Hash> {
  return size === 0 ? Promise.resolve(emptyRoot) : rangeRoot(read, 0, size);
}

/** What proves that the leaf `index` is in the tree over the first `size` leaves: the hashes beside its way to the root (RFC 6962, 2.1.1). */
export function inclusionProof(read: ReadSubtree, index: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(index) && index >= 0 && index < size)) throw new RangeError(`the leaf ${index} is not in a tree of ${size}`);
  return pathOf(read, index, 0, size);
}

/** What proves that the tree over `size` leaves begins with the one over `from` (RFC 6962, 2.1.2). */
export async function consistencyProof(read: ReadSubtree, from: number, size: number): Promise<Hash[]> {
  if (!(Number.isSafeInteger(from) && from > 0 && from <= size))
    throw new RangeError(`a tree of ${size} does not begin with one of ${from}`);
  return subproof(read, from, 0, size, true);
}

/** Whether the proof leads from the leaf to the root (RFC 9162, 2.1.3.2). */
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

/** Whether the proof shows that the tree of the second root begins with that of the first (RFC 9162, 2.1.4.2). */
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

/** The whole subtrees that the first `size` leaves are of, the largest first: their roots are all that a tree needs to grow on. */
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

/** A tree that grows leaf by leaf, of which no more is kept than it needs for that. */
export class MerkleTreeBuilder {
  #size: number;
  /** Roots of its whole subtrees, the largest first. */
  readonly #subtrees: { readonly level: number; readonly root: Hash }[];

  /**
   * @param size Leaves that it begins with.
   * @param roots Of the whole subtrees of so many leaves.
   */
  constructor(size = 0, roots: readonly Hash[] = []) {
    const whole = completeSubtrees(size);
    if (whole.length !== roots.length)
      throw new RangeError(`a tree of ${size} leaves has ${whole.length} whole subtrees, not ${roots.length}`);
    this.#size = size;
    this.#subtrees = whole.flatMap(({ level }, place) => {
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

/** @param isFromWhole Whether the tree over `from` leaves is one whose root the verifier has. */
async function subproof(read: ReadSubtree, from: number, start: number, end: number, isFromWhole: boolean): Promise<Hash[]> {
  if (from === end) return isFromWhole ? [] : [await rangeRoot(read, start, end)];
  const middle = start + splitOf(end - start);
  return from <= middle
    ? [...(await subproof(read, from, start, middle, isFromWhole)), await rangeRoot(read, middle, end)]
    : [...(await subproof(read, from, middle, end, false)), await rangeRoot(read, start, middle)];
}

/** The root over the leaves from `start` to before `end`; they begin where a subtree of as many may begin. */
async function rangeRoot(read: ReadSubtree, start: number, end: number): Promise<Hash> {
  const level = Math.log2(end - start);
  if (Number.isInteger(level)) return read(level, start / 2 ** level);
  const middle = start + splitOf(end - start);
  return nodeHash(await rangeRoot(read, start, middle), await rangeRoot(read, middle, end));
}

/** The greatest power of two that is less. */
function splitOf(size: number): number {
  return 2 ** Math.floor(Math.log2(size - 1));
}
