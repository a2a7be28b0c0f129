// Compares the checksums of the tcp examples with an independent implementation.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

/** Returns the Internet checksum (RFC 1071) of the segment that the examples generate, with arithmetic modulo 65,535. */
function internetChecksum(length: number): number {
  const bytes = Array.from({ length: length + (length % 2) }, (_, index) => (index < length ? (index * 31 + 7) % 256 : 0));
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) sum += (bytes[index] ?? 0) * 256 + (bytes[index + 1] ?? 0);
  return 65_535 - (sum === 0 ? 0 : sum % 65_535 === 0 ? 65_535 : sum % 65_535);
}

async function checksumOf(version: string): Promise<(length: number, rounds: number) => unknown> {
  const source = readFileSync(new URL(`../../examples/tcp/${version}/tcp.ts`, import.meta.url), 'utf8');
  const result = await compiler.compileModule({ module: 'tcp', version, language: 'assemblyscript', source });
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(result.compiled.image)), {
    patchbay: { tick: () => 0, suspend: () => {} },
  });
  return getExportedFunction(instance.exports, 'checksum');
}

test('1.1.0 computes the Internet checksum of segments of any length', async () => {
  const checksum = await checksumOf('1.1.0');
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 65_535 }), (length) => {
      expect(checksum(length, 1)).toBe(internetChecksum(length));
    }),
  );
});

test('1.0.0 is too large by one for a segment whose folded sum carries again', async () => {
  const checksum = await checksumOf('1.0.0');
  expect(checksum(1480, 1)).toBe(internetChecksum(1480) + 1);
  expect(checksum(1000, 1)).toBe(internetChecksum(1000));
});
