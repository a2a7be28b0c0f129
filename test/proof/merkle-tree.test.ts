// The Merkle tree: known hashes of Certificate Transparency, and soundness and completeness of proofs for trees of many sizes.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  completeSubtrees,
  computeRoot,
  consistencyProof,
  emptyRoot,
  formatHash,
  type Hash,
  inclusionProof,
  leafHash,
  MerkleTreeBuilder,
  nodeHash,
  verifyConsistency,
  verifyInclusion,
} from '../../src/proof/merkle-tree.ts';

/** Test entries of Certificate Transparency implementations, and the roots over the first of them. */
const entries = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map((hex) =>
  leafHash(Buffer.from(hex, 'hex').toString('latin1')),
);
const knownRoots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

const readerOf = (leaves: readonly Hash[]) => {
  const read = async (level: number, index: number): Promise<Hash> => {
    if (level > 0) return nodeHash(await read(level - 1, index * 2), await read(level - 1, index * 2 + 1));
    const leaf = leaves[index];
    if (leaf === undefined) throw new Error(`no leaf ${index}`);
    return leaf;
  };
  return read;
};

test.each(knownRoots.map((root, size) => [size, root] as const))('computes the known root over %i entries', async (size, root) => {
  expect(formatHash(await computeRoot(readerOf(entries), size))).toBe(`sha256:${root}`);
  const tree = new MerkleTreeBuilder();
  for (const leaf of entries.slice(0, size)) tree.add(leaf);
  expect(formatHash(tree.root)).toBe(`sha256:${root}`);
});

const size = fc.integer({ min: 1, max: 70 });
const leavesOf = (count: number, salt = '') => Array.from({ length: count }, (_, index) => leafHash(`${salt}${index}`));
const other = leafHash('of no tree');

test('grows a tree from the roots of its complete subtrees', async () => {
  await fc.assert(
    fc.asyncProperty(size, fc.nat(70), async (begin, more) => {
      const leaves = leavesOf(begin + more);
      const read = readerOf(leaves);
      const roots = await Promise.all(completeSubtrees(begin).map(({ level, index }) => read(level, index)));
      const tree = new MerkleTreeBuilder(begin, roots);
      for (const leaf of leaves.slice(begin)) tree.add(leaf);
      expect(tree.size).toBe(begin + more);
      expect(tree.root).toEqual(await computeRoot(read, begin + more));
    }),
  );
  expect(new MerkleTreeBuilder().root).toEqual(emptyRoot);
});

test('an inclusion proof verifies for its leaf and index only', async () => {
  await fc.assert(
    fc.asyncProperty(size, fc.nat(), fc.nat(), async (count, some, place) => {
      const [leaves, index] = [leavesOf(count), some % count];
      const read = readerOf(leaves);
      const [proof, root] = [await inclusionProof(read, index, count), await computeRoot(read, count)];
      const leaf = leaves[index] ?? other;
      expect(verifyInclusion(leaf, index, count, proof, root)).toBe(true);
      expect(verifyInclusion(other, index, count, proof, root)).toBe(false);
      expect(verifyInclusion(leaf, index, count, proof, other)).toBe(false);
      expect(verifyInclusion(leaf, index, count, [...proof, other], root)).toBe(false);
      if (proof.length > 0) expect(verifyInclusion(leaf, index, count, proof.toSpliced(place % proof.length, 1), root)).toBe(false);
      if (proof.length > 0) expect(verifyInclusion(leaf, index, count, proof.with(place % proof.length, other), root)).toBe(false);
      for (let wrong = 0; wrong < count; wrong++) expect(verifyInclusion(leaf, wrong, count, proof, root)).toBe(wrong === index);
    }),
  );
});

test('a consistency proof verifies only if a tree extends the other', async () => {
  await fc.assert(
    fc.asyncProperty(size, fc.nat(), fc.nat(), async (count, some, place) => {
      const from = 1 + (some % count);
      const leaves = leavesOf(count);
      const read = readerOf(leaves);
      const [proof, fromRoot, root] = [
        await consistencyProof(read, from, count),
        await computeRoot(read, from),
        await computeRoot(read, count),
      ];
      expect(verifyConsistency(from, count, proof, fromRoot, root)).toBe(true);
      expect(verifyConsistency(from, count, proof, other, root)).toBe(false);
      expect(verifyConsistency(from, count, proof, fromRoot, other)).toBe(false);
      expect(verifyConsistency(from, count, [...proof, other], fromRoot, root)).toBe(false);
      if (proof.length > 0) expect(verifyConsistency(from, count, proof.toSpliced(place % proof.length, 1), fromRoot, root)).toBe(false);
      // A list with a changed earlier entry has no valid proof.
      const changed = readerOf(leaves.with(place % from, other));
      const forged = await consistencyProof(changed, from, count);
      expect(verifyConsistency(from, count, forged, fromRoot, await computeRoot(changed, count))).toBe(false);
    }),
  );
});

test('rejects sizes and indices out of range', async () => {
  const read = readerOf(entries);
  expect(() => inclusionProof(read, 8, 8)).toThrow(RangeError);
  expect(() => inclusionProof(read, -1, 8)).toThrow(RangeError);
  await expect(consistencyProof(read, 0, 8)).rejects.toThrow(RangeError);
  await expect(consistencyProof(read, 9, 8)).rejects.toThrow(RangeError);
  expect(() => new MerkleTreeBuilder(3, [other])).toThrow(RangeError);
});
