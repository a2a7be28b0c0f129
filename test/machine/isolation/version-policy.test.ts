// Version policies: checks the decision against a model, and a device against the decision.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Device, Processor } from '../../../src/machine/index.ts';
import { compareVersions } from '../../../src/machine/isolation/version-policy.ts';
import { compiler, moduleImage } from '../test-machine.ts';

const processor = new Processor();
afterAll(async () => {
  processor.close();
  await compiler.close();
});

/** Versions, one line per precedence, ascending. */
const precedences = [['1.0.0-rc.1'], ['1.0.0', '1.0.0+again'], ['1.0.1'], ['1.10.0']];
const precedenceOf = (version: string) => precedences.findIndex((same) => same.includes(version));
/** Sets of exports, each a name and the type of its parameter. */
const interfaces = [['a i32'], ['a i64'], ['a i32', 'b i32'], ['b i32']];
const sourceOf = (exports: readonly string[]) => {
  const functions = exports.map((one) => one.split(' ')).map(([name, type]) => `(func (export "${name}") (param ${type}))`);
  return `(module ${functions.join(' ')})`;
};

const anyVersion = fc.record({ version: fc.constantFrom(...precedences.flat()), exports: fc.constantFrom(...interfaces) });
const anyPolicies = fc.record({
  versionPolicy: fc.constantFrom('newer' as const, 'different' as const, 'downgrade' as const),
  similarityPolicy: fc.constantFrom('require' as const, 'warn' as const, 'off' as const),
});

test('decides as the policies say, and a device acts on the decision', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(anyVersion, anyVersion, anyPolicies, async (old, next, policies) => {
      const [oldImage, nextImage] = [
        await moduleImage('tcp', old.version, sourceOf(old.exports)),
        await moduleImage('tcp', next.version, sourceOf(next.exports)),
      ];
      const { refusal } = compareVersions(nextImage.stamp, oldImage.stamp, policies);
      const rise = precedenceOf(next.version) - precedenceOf(old.version);
      const isSimilar = old.exports.every((one) => next.exports.includes(one));
      const isRefusedVersion = rise === 0 || (rise < 0 && policies.versionPolicy === 'newer');
      const isRefusedInterface = !isSimilar && policies.similarityPolicy === 'require';
      expect(refusal?.outcome).toBe(isRefusedVersion ? 'refused-not-newer' : isRefusedInterface ? 'refused-dissimilar' : undefined);

      const device = new Device({ processor, ramPages: 16 });
      await device.load({ image: oldImage });
      const { versionPolicy, similarityPolicy } = policies;
      const report = await device.load({
        image: nextImage,
        versionPolicy: versionPolicy === 'downgrade' ? { downgrade: 'a test' } : versionPolicy,
        similarityPolicy,
      });
      await device.close();
      expect(report).toMatchObject({ outcome: refusal?.outcome ?? 'replaced', reason: refusal?.reason ?? null });
    }),
    { numRuns: 300 },
  );
});
