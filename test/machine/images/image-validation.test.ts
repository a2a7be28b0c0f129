// The images that a device accepts: verified images whose imports and exports are allowed.

import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { readSections } from '../../../src/machine/images/binary-sections.ts';
import { ImageError, type ImageStatement, ProgramError, readImage, verifyImage } from '../../../src/machine/index.ts';
import { exported, type ForgedImage, forge, forgedDriver, forgedResult, imported } from '../forged-images.ts';
import { compiler, createTestMachine, driverImage, moduleImage, quickModule, until } from '../test-machine.ts';

afterAll(() => compiler.close());

const read = ({ bytes, digest }: ForgedImage) => readImage(bytes, digest);
const one = [exported('one')];
const asModule = { kind: 'module', exports: one } as const;
const asCaller = { ...asModule, imports: [imported('tcp', 'work')] } as const;
const asDriver = { kind: 'driver', exports: [exported('main'), exported('call')], imports: [imported('tcp', 'work')] } as const;
const driverFunctions = '(func (export "main")) (func (export "call"))';

describe('rejects an image that', () => {
  test.each<[string, ForgedImage, RegExp]>([
    [
      'imports kernel memory but calls no module',
      forge('(module (import "patchbay" "memory" (memory 1)) (func (export "one")))', asModule),
      /"patchbay" "memory" \(memory\), but its stamp lists no calls to other modules/,
    ],
    [
      'imports the address space but calls no module',
      forge('(module (import "patchbay" "space" (table 1 funcref)) (func (export "one")))', asModule),
      /"patchbay" "space" \(table\), but its stamp lists no calls to other modules/,
    ],
    [
      'imports an unknown system function',
      forge('(module (import "patchbay" "secret" (func)) (func (export "one")))', asModule),
      /"patchbay" "secret" \(function\), which no device provides/,
    ],
    [
      'imports a system function as a global',
      forge('(module (import "patchbay" "tick" (global i32)) (func (export "one")))', asModule),
      /"patchbay" "tick" \(global\), which no device provides/,
    ],
    ...['commit', 'switched', 'pause'].map((name): [string, ForgedImage, RegExp] => [
      `is a module and imports ${name}`,
      forge(`(module (import "patchbay" "${name}" (func)) (func (export "one")))`, asModule),
      /which only drivers may import/,
    ]),
    [
      'imports the function of lazy stubs',
      forge('(module (import "patchbay" "resolve" (func (param i32) (result funcref))) (func (export "one")))', asModule),
      /"patchbay" "resolve" \(function\), which no device provides/,
    ],
    [
      'imports a table entry of a module that its stamp does not list',
      forge('(module (import "patchbay:entry" "udp" (global i32)) (func (export "one")))', asCaller),
      /"patchbay:entry" "udp" \(global\), which its stamp does not list/,
    ],
    [
      'imports an offset that its stamp does not list',
      forge('(module (import "patchbay:offset:tcp" "other" (global i32)) (func (export "one")))', asCaller),
      /"patchbay:offset:tcp" "other"/,
    ],
    [
      'imports a function of another module directly',
      forge('(module (import "tcp" "work" (func)) (func (export "one")))', asCaller),
      /"tcp" "work" \(function\), which its stamp does not list/,
    ],
    [
      'imports an unknown kernel function',
      forge('(module (import "kernel" "halt" (func)) (func (export "one")))', asModule),
      /which the kernel does not provide/,
    ],
    [
      'imports a kernel function that its stamp does not list',
      forge('(module (import "kernel" "sleep" (func (param i32))) (func (export "one")))', asModule),
      /"kernel" "sleep" \(function\), which its stamp does not list/,
    ],
    [
      'exports a function that its stamp does not list',
      forge('(module (func (export "one")) (func (export "two")))', asModule),
      /exports "two" \(function\), which its stamp does not list/,
    ],
    ['exports a table', forge('(module (table (export "one") 1 funcref) (func (export "two")))', asModule), /exports "one" \(table\)/],
    ['exports a tag', forge('(module (tag $t (export "t")) (func (export "one")))', asModule), /exports "t" \(tag\)/],
    [
      're-exports kernel memory as its own',
      forge('(module (import "patchbay" "memory" (memory 1)) (export "patchbay:memory" (memory 0)) (func (export "one")))', asCaller),
      /re-exports the system's memory "patchbay" "memory" as "patchbay:memory"/,
    ],
    [
      're-exports a system function',
      forge('(module (import "patchbay" "suspend" (func $s)) (export "one" (func $s)))', asModule),
      /re-exports the system's function "patchbay" "suspend" as "one"/,
    ],
    [
      're-exports the table entry of a module',
      forge(
        '(module (import "patchbay:entry" "tcp" (global $e i32)) (export "patchbay:fuel" (global $e)) (func (export "one")))',
        asCaller,
      ),
      /re-exports the system's global "patchbay:entry" "tcp" as "patchbay:fuel"/,
    ],
    [
      'writes to kernel memory when it is instantiated',
      forge('(module (import "patchbay" "memory" (memory 1)) (data (i32.const 8) "x") (func (export "one")))', asCaller),
      /a data segment that writes to kernel memory/,
    ],
    [
      'writes to the address space when it is instantiated',
      forge('(module (import "patchbay" "space" (table 1 funcref)) (func $f (export "one")) (elem (i32.const 0) $f))', asCaller),
      /an element segment that writes to the device's address space/,
    ],
    [
      "hides a memory from the host's limits",
      forge('(module (memory 1) (func (export "one")))', asModule),
      /it has its own memory, but its stamp says it has none/,
    ],
    [
      'hides a start function',
      forge('(module (func $s (export "one")) (start $s))', asModule),
      /it has a start function, but its stamp says it has none/,
    ],
    [
      'is a driver that calls the kernel',
      forge(`(module (import "kernel" "sleep" (func (param i32))) ${driverFunctions})`, asDriver),
      /a driver must call only its module/,
    ],
    [
      'is a driver that calls two functions',
      forge(`(module ${driverFunctions})`, { ...asDriver, imports: [imported('tcp', 'work'), imported('udp', 'work')] }),
      /a driver that calls 2 functions; expected 1/,
    ],
    [
      'is a driver with additional exports',
      forge(`(module ${driverFunctions} (func (export "one")))`, { ...asDriver, exports: [...asDriver.exports, ...one] }),
      /a driver that exports "one"/,
    ],
    [
      'is a driver with a memory',
      forge(`(module (memory 1) ${driverFunctions})`, { ...asDriver, ownMemory: true }),
      /a driver with a memory/,
    ],
    [
      'has lazy stubs with additional imports',
      forge('(module (func (export "one")))', asModule, '(module (import "patchbay" "memory" (memory 1)) (func (export "0")))'),
      /its lazy stubs import "patchbay" "memory"/,
    ],
    [
      'has no lazy stub for an export',
      forge('(module (func (export "one")))', asModule, '(module)'),
      /its lazy stubs do not cover its exports/,
    ],
    [
      'has another safepoint ABI version',
      forge('(module (func (export "one")))', { ...asModule, abi: 3 }),
      /safepoint ABI version 3, expected \d+: compile the source again/,
    ],
  ])('%s', (_, image, reason) => {
    expect(() => read(image)).toThrow(ImageError);
    expect(() => read(image)).toThrow(reason);
  });
});

test('accepts allowed imports and exports', () => {
  const image = forge(
    `(module
      (import "patchbay" "memory" (memory 1)) (import "patchbay" "space" (table 1 funcref)) (import "patchbay" "tick" (func (result i32)))
      (import "patchbay:entry" "tcp" (global i32)) (import "patchbay:offset:tcp" "work" (global i32)) (import "kernel" "sleep" (func (param i32)))
      (memory $own 1) (table $mine 1 funcref) (global (export "patchbay:fuel") (mut i32) (i32.const 0))
      (func $f (export "one")) (elem (table $mine) (i32.const 0) func $f) (data (memory $own) (i32.const 8) "x"))`,
    { ...asCaller, ownMemory: true, imports: [...asCaller.imports, imported('kernel', 'sleep')] },
  );
  expect(read(image).stamp.interface.exports).toMatchObject([{ name: 'one' }]);
});

test('rejects an image until it is compared with its statement', async () => {
  const machine = createTestMachine();
  const unverifiedImage = read(forge('(module (func (export "one")))', asModule));
  // Calls the method the way a caller without types does.
  const call = (method: string, argument: unknown): unknown => Reflect.get(machine.device, method).call(machine.device, argument);
  const refused = { outcome: 'refused-image', reason: expect.stringContaining('is not verified') };
  expect(await call('load', { image: unverifiedImage })).toMatchObject(refused);
  expect(await call('restore', unverifiedImage)).toMatchObject(refused);
  const driver = read(forgedDriver('tcp'));
  const program = { program: 'p', driver, module: 'tcp', export: 'work', arguments: ['1'], threads: 1, calls: 1, pauseMilliseconds: 0 };
  for (const method of ['startProgram', 'openHostCall']) expect(() => call(method, program)).toThrow(ProgramError);
  expect(machine.device.state()).toMatchObject({ moduleTable: [], programs: [] });
  await machine.close();
});

test('rejects a statement that does not match the stamp', async () => {
  const { digest } = await moduleImage('tcp', '1.0.0', quickModule(1));
  const image = await moduleImage('tcp', '1.0.0', quickModule(1));
  const driver = await driverImage('tcp', 'work');
  const ofModule = { kind: 'module', digest, module: 'tcp', version: '1.0.0' } as const;
  const type = { parameters: ['i32' as const], results: ['i32' as const] };
  const ofDriver = { kind: 'driver', digest: driver.digest, module: 'tcp', export: 'work', type, addressing: 'via-table' } as const;
  expect(verifyImage(image, ofModule)).toBe(image);
  expect(verifyImage(driver, ofDriver)).toBe(driver);
  const wrong: [typeof image, ImageStatement, RegExp][] = [
    [image, { ...ofModule, version: '1.0.1' }, /stamped as tcp@1\.0\.0, but its signed statement describes tcp@1\.0\.1/],
    [image, { ...ofModule, module: 'udp' }, /stamped as tcp@1\.0\.0/],
    [image, { ...ofModule, digest: driver.digest }, /the statement is about image/],
    [image, { ...ofDriver, digest }, /stamped as a module, but its signed statement describes a driver/],
    [driver, { ...ofModule, digest: driver.digest }, /stamped as a driver/],
    [driver, { ...ofDriver, module: 'udp' }, /calls tcp\.work, but its signed statement describes udp\.work/],
    [driver, { ...ofDriver, export: 'other' }, /its signed statement describes tcp\.other/],
    [
      driver,
      { ...ofDriver, type: { ...type, results: [] } },
      /with the type \(i32\) → \(i32\), but its signed statement says \(i32\) → \(\)/,
    ],
    [driver, { ...ofDriver, addressing: 'hard-coded' }, /no hard-coded address/],
    [
      await driverImage('tcp', 'work', 1, 'hard-coded'),
      { ...ofDriver, digest: (await driverImage('tcp', 'work', 1, 'hard-coded')).digest },
      /has a hard-coded address/,
    ],
  ];
  for (const [candidate, statement, reason] of wrong) expect(() => verifyImage(candidate, statement)).toThrow(reason);
});

test('relies on the signature to protect modules: a driver that overwrites their code has the same structure as any driver', async () => {
  const machine = createTestMachine();
  await machine.load('tcp', '1.0.0', quickModule(1));
  const image = read(forgedDriver('tcp'));
  const call = { module: 'tcp', export: 'work', arguments: ['1'], threads: 1, calls: 1, pauseMilliseconds: 0 };
  const type = { parameters: ['i32' as const], results: ['i32' as const] };
  const statement = { kind: 'driver', digest: image.digest, module: 'tcp', export: 'work', type, addressing: 'via-table' } as const;
  machine.device.startProgram({ program: 'forged', driver: verifyImage(image, statement), ...call });
  await until(() => machine.statistics('forged').state !== 'running');
  await machine.start('p', { module: 'tcp', calls: 1 });
  await until(() => machine.statistics('p').state === 'finished');
  expect(machine.statistics('p').lastResult).toBe(String(forgedResult));
  await machine.close();
});

describe("rejects references, which would outlive the module's version,", () => {
  test.each<[string, ForgedImage]>([
    [
      'as a result',
      forge('(module (func $f (export "one") (result funcref) (ref.func $f)))', {
        ...asModule,
        exports: [exported('one', { parameters: [], results: ['funcref'] })],
      }),
    ],
    [
      'as a parameter',
      forge('(module (func (export "one") (param externref)))', {
        ...asModule,
        exports: [exported('one', { parameters: ['externref'], results: [] })],
      }),
    ],
    [
      'as an argument of a call',
      forge('(module (func (export "one")))', {
        ...asModule,
        imports: [imported('tcp', 'keep', { parameters: ['funcref'], results: [] })],
      }),
    ],
    [
      'through a driver',
      forge(`(module ${driverFunctions})`, { ...asDriver, imports: [imported('tcp', 'give', { parameters: [], results: ['funcref'] })] }),
    ],
  ])('%s', (_, image) => {
    expect(() => read(image)).toThrow(/with the type (funcref|externref): references must not cross module boundaries/);
  });

  test('in an exported table or global', () => {
    expect(() => read(forge('(module (table (export "t") 1 funcref) (func (export "one")))', asModule))).toThrow('exports "t" (table)');
    expect(() => read(forge('(module (global (export "g") funcref (ref.null func)) (func (export "one")))', asModule))).toThrow(
      'exports "g" (global)',
    );
  });
});

test('reads the same sections as the engine', () => {
  const item = fc.constantFrom('function', 'global', 'memory', 'table');
  const declarations = {
    function: '(func $f# (export "#"))',
    global: '(global (export "#") i32 (i32.const 7))',
    memory: '(memory $m# (export "#") 1)',
    table: '(table $t# (export "#") 1 300 funcref)',
  };
  fc.assert(
    fc.property(fc.array(item, { maxLength: 300 }), fc.boolean(), fc.boolean(), (items, hasStart, isActive) => {
      const declared = items.map((kind, index) => declarations[kind].replaceAll('#', String(index)));
      const of = (kind: string) => items.flatMap((one, index) => (one === kind ? [index] : []));
      const data = of('memory').map((index) => `(data ${isActive ? `(memory $m${index}) (i32.const ${index * 100})` : ''} "some bytes")`);
      const elements = of('table').flatMap((index) => [
        `(elem ${isActive ? `(table $t${index}) (i32.const 0)` : ''} func $s $s)`,
        `(elem ${isActive ? `(table $t${index}) (i32.const 0)` : 'declare'} funcref (ref.null func) (ref.func $s))`,
      ]);
      const { bytes } = forge(
        `(module (func $s) ${declared.join('')} ${data.join('')} ${elements.join('')} ${hasStart ? '(start $s)' : ''})`,
        asModule,
      );
      const sections = readSections(bytes);
      const code = new WebAssembly.Module(bytes);
      expect(sections.tableElements).toBe(of('table').length * 300);
      expect(sections.exports.map(({ name, kind }) => ({ name, kind }))).toEqual(WebAssembly.Module.exports(code));
      expect(sections.exports.map(({ index }) => index)).toEqual(
        items.map((kind, index) => of(kind).indexOf(index) + (kind === 'function' ? 1 : 0)),
      );
      const written = (kind: string) => (isActive ? of(kind).map((_, index) => index) : []);
      expect(sections).toMatchObject({ memories: of('memory').length, hasStart });
      expect([...sections.writtenMemories].toSorted((left, right) => left - right)).toEqual(written('memory'));
      expect([...sections.writtenTables].toSorted((left, right) => left - right)).toEqual(written('table'));
    }),
    { numRuns: 100 },
  );
});
