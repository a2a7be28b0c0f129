// Link policies: checks the decision against an independent model over random modules, and a device against the decision.

import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { ValueType } from '../../../src/machine/images/stamp.ts';
import { Device, Processor } from '../../../src/machine/index.ts';
import { checkLinks, findUnresolvedLinks, type LinkedModule } from '../../../src/machine/isolation/link-policy.ts';
import type { UnresolvedLink } from '../../../src/machine/isolation/load-report.ts';
import { compiler, moduleImage } from '../test-machine.ts';

const processor = new Processor();
afterAll(async () => {
  processor.close();
  await compiler.close();
});

const names = ['a', 'b', 'c', 'd'];
const exportNames = ['x', 'y'];
const types = ['i32', 'i64'] as const;
/** Ranges, and which of the generated versions each accepts. The test does not use semver itself. */
const ranges: Readonly<Record<string, readonly string[]>> = {
  '^1.0.0': ['1.0.0', '1.1.0'],
  '^1.1.0': ['1.1.0'],
  '2.x': ['2.0.0'],
  '*': ['1.0.0', '1.1.0', '2.0.0', '3.0.0'],
};

type Type = (typeof types)[number];
/** A module as the model sees it. Each export takes one parameter. */
type Sketch = {
  readonly module: string;
  readonly version: string;
  readonly exports: Readonly<Partial<Record<string, Type>>>;
  readonly imports: readonly { readonly module: string; readonly name: string; readonly type: Type }[];
  readonly dependencies: Readonly<Record<string, string>>;
};

const anyType = fc.constantFrom(...types);
const sketchOf = (module: string): fc.Arbitrary<Sketch> =>
  fc.record({
    module: fc.constant(module),
    version: fc.constantFrom('1.0.0', '1.1.0', '2.0.0'),
    exports: fc.dictionary(fc.constantFrom(...exportNames), anyType),
    imports: fc.uniqueArray(
      fc.record({ module: fc.constantFrom(...names, 'kernel'), name: fc.constantFrom(...exportNames), type: anyType }),
      { maxLength: 5, selector: ({ module: from, name, type }) => `${from}.${name} ${type}` },
    ),
    dependencies: fc.dictionary(fc.constantFrom(...names), fc.constantFrom(...Object.keys(ranges)), { maxKeys: 2 }),
  });
const anyModules = fc.subarray(names).chain((chosen) => fc.tuple(...chosen.map(sketchOf)));

function toModule({ module, version, exports, imports, dependencies }: Sketch): LinkedModule {
  const functionType = (type: Type | undefined) => ({ parameters: type === undefined ? [] : [type], results: [] });
  return {
    module,
    version,
    dependencies,
    interface: {
      exports: Object.entries(exports).map(([name, type]) => ({ name, ...functionType(type) })),
      imports: imports.map(({ module: from, name, type }) => ({ module: from, name, ...functionType(type) })),
    },
  };
}

/** The model: the set of needs of each module that a list of modules does not meet, as texts. */
function unmet(present: readonly Sketch[]): Set<string> {
  const failing = new Set<string>();
  for (const { module: who, imports, dependencies } of present) {
    for (const { module: whom, name, type } of imports) {
      const provider = present.find(({ module }) => module === whom);
      if (whom !== 'kernel' && provider?.exports[name] !== type) failing.add(`${who} imports ${whom}.${name} ${type}`);
    }
    for (const [whom, range] of Object.entries(dependencies)) {
      const provider = present.find(({ module }) => module === whom);
      if (provider === undefined || !ranges[range]?.includes(provider.version)) failing.add(`${who} requires ${whom} ${range}`);
    }
  }
  return failing;
}

/** The model of a load: all unmet needs of what arrives, and of what stays only those that were met before. */
function expectedLinks(arriving: readonly Sketch[], inMemory: readonly Sketch[]): Set<string> {
  const arrives = (text: string) => arriving.some(({ module }) => text.startsWith(`${module} `));
  const after = unmet([...inMemory.filter(({ module }) => !arriving.some((one) => one.module === module)), ...arriving]);
  const before = unmet(inMemory);
  return new Set([...after].filter((text) => arrives(text) || !before.has(text)));
}

function textOf(link: UnresolvedLink): string {
  const { importer, provider } = link;
  if (link.problem === 'out-of-range') return `${importer.module} requires ${provider.module} ${link.range}`;
  return `${importer.module} imports ${provider.module}.${link.export} ${/\((.*)\) → \(\)/.exec(link.expected)?.[1]}`;
}

test('finds the unresolved links that a load of several modules causes', () => {
  let unresolvedCases = 0;
  fc.assert(
    fc.property(anyModules, anyModules, (arriving, inMemory) => {
      const modules = { arriving: arriving.map(toModule), inMemory: inMemory.map(toModule) };
      const found = findUnresolvedLinks(modules);
      const expected = expectedLinks(arriving, inMemory);
      expect(new Set(found.map(textOf))).toEqual(expected);
      expect(found).toHaveLength(expected.size);
      if (expected.size > 0) unresolvedCases += 1;
      for (const link of found) {
        const { importer, provider } = link;
        const present = arriving.concat(inMemory).find(({ module }) => module === provider.module);
        const owner = arriving.concat(inMemory).find(({ module }) => module === importer.module);
        expect([importer.version, provider.version]).toEqual([owner?.version, present?.version ?? null]);
        if (link.problem === 'wrong-type') expect(link.provided).toBe(`(${present?.exports[link.export]}) → ()`);
        if (link.problem === 'missing') expect(present?.exports[link.export]).toBeUndefined();
      }
      expect(checkLinks(modules, 'warn')).toEqual({ unresolved: found, refusal: null });
      const { refusal } = checkLinks(modules, 'require');
      expect(refusal?.outcome).toBe(found.length === 0 ? undefined : 'refused-unresolved');
      const [first] = found;
      if (refusal === null || first === undefined) return;
      expect(refusal.reason.length).toBeLessThanOrEqual(1_000);
      expect(refusal.reason).toContain(`${first.importer.module}@${first.importer.version}`);
      expect(refusal.reason).toMatch(/, or use link policy warn or off$/);
    }),
    { numRuns: 2_000 },
  );
  expect(unresolvedCases).toBeGreaterThan(100);
});

test('a device decides by the same rule, whatever is in memory', { timeout: 300_000 }, async () => {
  // The optimizer drops imports that are not called.
  const sourceOf = ({ exports, imports }: Sketch) => {
    const imported = imports.map(({ module: from, name, type }, index) => `(import "${from}" "${name}" (func $${index} (param ${type})))`);
    const calls = imports.map(({ type }, index) => `(call $${index} (${type}.const 0))`);
    const exported = Object.entries(exports).map(([name, type]) => `(func (export "${name}") (param ${type}))`);
    return `(module ${imported.join(' ')} ${exported.join(' ')} (func (export "z") ${calls.join(' ')}))`;
  };
  const linkable = anyModules.map((modules) =>
    modules.map(({ imports, ...sketch }) => ({ ...sketch, imports: imports.filter(({ module: from }) => from !== 'kernel') })),
  );
  await fc.assert(
    fc.asyncProperty(
      linkable,
      fc.constantFrom(...names).chain(sketchOf),
      fc.constantFrom('require', 'warn', 'off'),
      async (inMemory, next, linkPolicy) => {
        const arriving = { ...next, version: '3.0.0', imports: next.imports.filter(({ module: from }) => from !== 'kernel') };
        const device = new Device({ processor, ramPages: 32 });
        for (const sketch of inMemory) {
          const image = await moduleImage(sketch.module, sketch.version, sourceOf(sketch), undefined, sketch.dependencies);
          expect(await device.load({ image, linkPolicy: 'off' })).toMatchObject({ outcome: 'installed' });
        }
        const image = await moduleImage(arriving.module, arriving.version, sourceOf(arriving), undefined, arriving.dependencies);
        const before = device.state().moduleTable;
        const report = await device.load({ image, linkPolicy, similarityPolicy: 'off' });
        const after = device.state().moduleTable;
        await device.close();
        const expected = expectedLinks([arriving], inMemory);
        const isRefused = linkPolicy === 'require' && expected.size > 0;
        expect(report.outcome === 'refused-unresolved').toBe(isRefused);
        if (isRefused) expect(after).toEqual(before);
        const step = report.steps.find(({ step: name }) => name === 'linked');
        if (linkPolicy === 'off') expect(step).toBeUndefined();
        else expect(step).toMatchObject({ operation: 220, facts: { linkPolicy, unresolvedLinks: expected.size } });
      },
    ),
    { numRuns: 150 },
  );
});

test('an import must have exactly the type of the export', () => {
  const type = fc.record({
    parameters: fc.array(fc.constantFrom(...ValueType.options), { maxLength: 3 }),
    results: fc.array(fc.constantFrom(...ValueType.options), { maxLength: 2 }),
  });
  fc.assert(
    fc.property(type, type, (expected, provided) => {
      const provider = {
        module: 'a',
        version: '1.0.0',
        dependencies: {},
        interface: { exports: [{ name: 'x', ...provided }], imports: [] },
      };
      const importer = {
        module: 'b',
        version: '1.0.0',
        dependencies: {},
        interface: { exports: [], imports: [{ module: 'a', name: 'x', ...expected }] },
      };
      const isSame = JSON.stringify(expected) === JSON.stringify(provided);
      expect(findUnresolvedLinks({ arriving: [importer], inMemory: [provider] })).toHaveLength(isSame ? 0 : 1);
    }),
  );
});

const lib = (exports: string) => `(module ${exports})`;
const send = (parameter: string) => `(func (export "send") (param ${parameter}) (result i32) (i32.const 1))`;
const http = `
  (module (import "tcp" "send" (func $send (param i32) (result i32)))
    (func (export "work") (param i32) (result i32) (call $send (local.get 0))))`;

async function withDevice(use: (device: Device) => Promise<void>): Promise<void> {
  const device = new Device({ processor, ramPages: 32 });
  try {
    await use(device);
  } finally {
    await device.close();
  }
}

test('refuses a first install whose imports nothing provides, and says what to load first', () =>
  withDevice(async (device) => {
    const report = await device.load({ image: await moduleImage('http', '1.0.0', http) });
    expect(report).toMatchObject({
      outcome: 'refused-unresolved',
      reason:
        'http@1.0.0 imports tcp.send (i32) → i32, but tcp is not in memory: load a version of tcp that exports it first, or use link policy warn or off',
      previous: null,
      current: null,
    });
    expect(report.steps.map(({ step }) => step)).toEqual(['received', 'looked-up', 'linked', 'refused', 'completed']);
    expect(device.state().moduleTable).toEqual([]);
    expect(device.state().memoryMap.usedPages).toBe(0);
    await device.load({ image: await moduleImage('tcp', '1.0.0', lib(send('i32'))) });
    expect(await device.load({ image: await moduleImage('http', '1.0.0', http) })).toMatchObject({ outcome: 'installed' });
  }));

test('refuses a version that takes an import from a module in memory, by name or by type', () =>
  withDevice(async (device) => {
    const loadTcp = async (version: string, exports: string, linkPolicy: 'require' | 'warn' | 'off' = 'require') =>
      device.load({ image: await moduleImage('tcp', version, lib(exports)), similarityPolicy: 'off', linkPolicy });
    await loadTcp('1.0.0', send('i32'));
    await device.load({ image: await moduleImage('http', '1.0.0', http) });
    const removed = await loadTcp('1.1.0', '(func (export "other"))');
    expect(removed).toMatchObject({
      outcome: 'refused-unresolved',
      reason: expect.stringContaining('http@1.0.0, which is in memory, imports tcp.send (i32) → i32, but tcp@1.1.0 does not export it: '),
      current: { version: '1.0.0' },
    });
    const changed = await loadTcp('1.1.0', send('i64'));
    expect(changed).toMatchObject({
      outcome: 'refused-unresolved',
      reason: expect.stringContaining(
        'but tcp@1.1.0 exports it as (i64) → i32: load a version of tcp that exports it, or first a version of http that does not import it',
      ),
    });
    const warned = await loadTcp('1.1.0', send('i64'), 'warn');
    expect(warned).toMatchObject({ outcome: 'replaced', reason: null });
    expect(warned.steps.find(({ step }) => step === 'linked')?.facts).toEqual({
      linkPolicy: 'warn',
      unresolved: [
        {
          problem: 'wrong-type',
          importer: { module: 'http', version: '1.0.0' },
          provider: { module: 'tcp', version: '1.1.0' },
          export: 'send',
          expected: '(i32) → i32',
          provided: '(i64) → i32',
        },
      ],
      unresolvedLinks: 1,
    });
    // http is unresolved now, so the next version is not blamed for its import.
    expect(await loadTcp('1.2.0', '(func (export "other"))')).toMatchObject({ outcome: 'replaced' });
  }));

test('a restored module is not checked, so that modules return in any order', () =>
  withDevice(async (device) => {
    expect(await device.restore(await moduleImage('http', '1.0.0', http))).toMatchObject({ outcome: 'installed' });
  }));

test('lists at most 100 unresolved links, and counts all', () =>
  withDevice(async (device) => {
    const imports = Array.from({ length: 250 }, (_, index) => `(import "tcp" "f${index}" (func $f${index}))`);
    const calls = Array.from({ length: 250 }, (_, index) => `(call $f${index})`);
    const source = `(module ${imports.join('')} (func (export "run") ${calls.join('')}))`;
    const report = await device.load({ image: await moduleImage('many', '1.0.0', source) });
    const facts = report.steps.flatMap((step) => (step.step === 'linked' ? [step.facts] : []));
    expect(facts).toMatchObject([{ unresolvedLinks: 250 }]);
    expect(facts[0]?.unresolved).toHaveLength(100);
    expect(report.reason).toMatch(/; 245 more unresolved links: load a version of tcp .* or use link policy warn or off$/);
  }));

test('long names leave room for the advice', () =>
  withDevice(async (device) => {
    const parameters = '(param i64 i64 i64 i64)'.repeat(10);
    const values = '(i64.const 0)'.repeat(40);
    const imports = Array.from(
      { length: 5 },
      (_, index) => `(import "tcp" "${'long'.repeat(100)}${index}" (func $f${index} ${parameters}))`,
    );
    const calls = imports.map((_, index) => `(call $f${index} ${values})`);
    const source = `(module ${imports.join('')} (func (export "run") ${calls.join('')}))`;
    const report = await device.load({ image: await moduleImage('long', '1.0.0', source) });
    expect(report).toMatchObject({ outcome: 'refused-unresolved', reason: expect.stringMatching(/, or use link policy warn or off$/) });
    expect(report.reason?.length).toBeLessThanOrEqual(1_000);
  }));

test('requires the declared ranges of versions, in both directions', () =>
  withDevice(async (device) => {
    const udp = (version: string) => moduleImage('udp', version, lib(send('i32')));
    const dns = await moduleImage('dns', '1.0.0', '(module (func (export "run")))', undefined, { udp: '^1.2.0' });
    expect(dns.stamp.dependencies).toEqual({ udp: '^1.2.0' });
    expect(await device.load({ image: dns })).toMatchObject({
      outcome: 'refused-unresolved',
      reason:
        'dns@1.0.0 requires udp ^1.2.0, but udp is not in memory: load a version of udp in the range ^1.2.0 first, or use link policy warn or off',
    });
    await device.load({ image: await udp('1.1.0') });
    expect(await device.load({ image: dns })).toMatchObject({
      outcome: 'refused-unresolved',
      reason: expect.stringContaining('dns@1.0.0 requires udp ^1.2.0, but udp@1.1.0 is in memory'),
    });
    await device.load({ image: await udp('1.2.5') });
    expect(await device.load({ image: dns })).toMatchObject({ outcome: 'installed' });
    expect(await device.load({ image: await udp('1.9.0') })).toMatchObject({ outcome: 'replaced' });
    expect(await device.load({ image: await udp('2.0.0') })).toMatchObject({
      outcome: 'refused-unresolved',
      reason: expect.stringMatching(
        /^dns@1.0.0, which is in memory, requires udp \^1.2.0, but udp@2.0.0 would be in memory: .*first a version of dns that accepts udp@2.0.0/,
      ),
    });
  }));

test('modules that import each other may arrive together', () => {
  const cyclic = (module: string, other: string): LinkedModule => ({
    module,
    version: '1.0.0',
    dependencies: { [other]: '^1.0.0' },
    interface: {
      exports: [{ name: 'x', parameters: [], results: [] }],
      imports: [{ module: other, name: 'x', parameters: [], results: [] }],
    },
  });
  expect(findUnresolvedLinks({ arriving: [cyclic('a', 'b'), cyclic('b', 'a')], inMemory: [] })).toEqual([]);
  expect(findUnresolvedLinks({ arriving: [cyclic('a', 'b')], inMemory: [] })).toHaveLength(2);
  expect(findUnresolvedLinks({ arriving: [cyclic('a', 'a')], inMemory: [] })).toEqual([]);
});
