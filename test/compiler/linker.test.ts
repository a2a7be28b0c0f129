// The linker: unused additions are omitted, references stay correct under new indices, and stubs restore the stack pointer.

import { expect, test } from 'vitest';
import { call, globalGet, globalSet, i32Const, plain } from '../../src/compiler/binary/instruction.ts';
import { decodeBody, encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import type { Module } from '../../src/compiler/binary/module.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import { supportedFeatures } from '../../src/compiler/binaryen.ts';
import { type LinkOptions, link } from '../../src/compiler/linker.ts';
import { functionPlaceholders, globalPlaceholders } from '../../src/compiler/placeholders.ts';
import { absentAddress, runningThread, tableEntry, threadBlock } from '../../src/machine/abi.ts';
import { getExportedFunction } from '../../src/machine/images/instance-exports.ts';
import { assembleText } from './binary-samples.ts';

const options: LinkOptions = {
  kind: 'module',
  stubs: { servedGlobal: null, pinnedGlobals: null, stackPointer: null },
  memoryPages: 16,
  tableElements: 100,
};

const read = (text: string) => decodeModule(assembleText(text, supportedFeatures));
const compiled = (module: Module) => new WebAssembly.Module(encodeModule(module));
const namesOf = (module: Module) => module.imports.map(({ module: from, name }) => `${from}.${name}`);

/** Returns the module with code prepended to its first function. */
function before(module: Module, code: Parameters<typeof encodeInstructions>[0]): Module {
  const [first, ...rest] = module.functions;
  if (first === undefined) throw new Error('the module has no function');
  return { ...module, functions: [{ ...first, ...encodeInstructions([...code, ...decodeBody(first)]) }, ...rest] };
}

const usesFuel = [
  globalGet(globalPlaceholders.fuel),
  i32Const(1),
  plain('i32.sub'),
  globalSet(globalPlaceholders.fuel),
  call(functionPlaceholders.yield),
];

test('adds no imports to a module without safepoints and accesses', () => {
  const linked = link(read('(module (memory (export "m") 1) (func (export "f") (drop (i32.load (i32.const 0)))))'), options);
  expect(linked.imports).toEqual([]);
  expect(linked.globals).toEqual([]);
  expect(linked.exports).toEqual([{ name: 'f', kind: 'function', index: 0 }]);
  expect(compiled(linked)).toBeInstanceOf(WebAssembly.Module);
});

test('adds the fuel export and the imports of the processor to a module with safepoints', () => {
  const linked = link(
    before(read('(module (global $g (export "g") (mut i32) (i32.const 7)) (func (export "f") (result i32) (global.get $g)))'), usesFuel),
    options,
  );
  expect(namesOf(linked)).toEqual(['patchbay.tick', 'patchbay.suspend']);
  let suspended = 0;
  const patchbay = {
    tick: () => -1,
    suspend: () => {
      suspended += 1;
    },
  };
  const { exports } = new WebAssembly.Instance(compiled(linked), { patchbay });
  expect(getExportedFunction(exports, 'f')()).toBe(7);
  expect(suspended).toBe(1);
  expect(exports['patchbay:fuel']).toHaveProperty('value', 16_384);
  expect(exports).not.toHaveProperty('g');
});

test('memories, and tables that the code grows, can grow to the limit, but not beyond', () => {
  const grown = [0, 1, 2].map((table) => `(drop (table.grow ${table} (ref.null func) (local.get 0)))`);
  const text = `(module (memory 2) (table 3 funcref) (table 3 50 funcref) (table 200 300 funcref) (table 4 funcref)
    (func (export "f") (param i32) (drop (memory.grow (local.get 0))) ${grown.join(' ')}))`;
  const linked = link(read(text), options);
  expect(linked.memories).toEqual([{ initial: 2, maximum: 16 }]);
  expect(linked.tables.map(({ limits }) => limits)).toEqual([
    { initial: 3, maximum: 100 },
    { initial: 3, maximum: 50 },
    { initial: 200, maximum: 200 },
    { initial: 4, maximum: 4 },
  ]);
});

/** Creates the imports that a processor provides: a kernel memory with one thread, and one module, `b`, whose export `g` is in page 5. */
function machine(callee: (value: number) => number) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const words = new Int32Array(memory.buffer);
  const [block, entry, record] = [2 * threadBlock.bytes, 64, 128];
  words[runningThread.stack / 4] = block + threadBlock.frames;
  words[(entry + tableEntry.address) / 4] = 4;
  words[(entry + tableEntry.record) / 4] = record;
  const space = new WebAssembly.Table({ element: 'anyfunc', initial: 16 });
  const injected = new WebAssembly.Tag({ parameters: [] });
  const host = assembleText(
    '(module (import "host" "callee" (func $c (param i32) (result i32))) (func (export "g") (param i32) (result i32) (call $c (local.get 0))))',
  );
  space.set(5, getExportedFunction(new WebAssembly.Instance(new WebAssembly.Module(host), { host: { callee } }).exports, 'g'));
  const imports = {
    patchbay: { memory, space, injected, tick: () => 0, suspend: () => {} },
    'patchbay:entry': { b: entry },
    'patchbay:offset:b': { g: 1 },
  };
  return { words, block, record, injected, imports };
}

const caller = `(module (import "b" "g" (func $g (param i32) (result i32))) (memory 1) (data (i32.const 12) "\\05") (table 1 funcref) (elem (i32.const 0) $own)
  (type $t (func (result i32))) (global $sp (mut i32) (i32.const 1000))
  (func (export "frame") (param i32) (global.set $sp (local.get 0)))
  (func (export "pointer") (result i32) (global.get $sp))
  (func $own (result i32) (i32.load (i32.const 12)))
  (func (export "straight") (param i32) (result i32) (i32.add (call $g (local.get 0)) (call_indirect (type $t) (i32.const 0))))
  (func (export "looping") (param $n i32) (result i32) (local $sum i32)
    (loop $next (local.set $sum (i32.add (local.get $sum) (call $g (local.get $n)))) (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (local.get $sum) (call_indirect (type $t) (i32.const 0)))))`;

test('an access reads the module table, inside and outside of loops, and leaves the stack of images empty', () => {
  const frames: (number | undefined)[] = [];
  const { words, block, record, imports } = machine((value) => {
    frames.push(words[(block + threadBlock.frames) / 4]);
    return 10 * value;
  });
  const linked = link(read(caller), options);
  const { exports } = new WebAssembly.Instance(compiled(linked), imports);
  expect(getExportedFunction(exports, 'straight')(3)).toBe(35);
  expect(getExportedFunction(exports, 'looping')(3)).toBe(65);
  expect(frames).toEqual(Array.from({ length: 4 }, () => record));
  expect(words[runningThread.stack / 4]).toBe(block + threadBlock.frames);
  words[(64 + tableEntry.address) / 4] = absentAddress;
  expect(() => getExportedFunction(exports, 'straight')(3)).toThrow(WebAssembly.RuntimeError);
});

test.each(['straight', 'looping'])('an access retries after an injected error (%s), with its original stack pointer', (name) => {
  const pointers: unknown[] = [];
  let exports: WebAssembly.Instance['exports'] = {};
  const { words, block, injected, imports } = machine((value) => {
    pointers.push(getExportedFunction(exports, 'pointer')());
    // A nested function has a stack frame when the error is thrown.
    getExportedFunction(exports, 'frame')(900);
    if (pointers.length < 3) throw new WebAssembly.Exception(injected, []);
    getExportedFunction(exports, 'frame')(1_000);
    return 10 * value;
  });
  const linked = link(read(caller), { ...options, stubs: { ...options.stubs, stackPointer: 0 } });
  exports = new WebAssembly.Instance(compiled(linked), imports).exports;
  words[(block + threadBlock.injectionTarget) / 4] = block + threadBlock.frames;
  expect(getExportedFunction(exports, name)(1)).toBe(15);
  expect(pointers).toEqual([1_000, 1_000, 1_000]);
  expect(words[(block + threadBlock.accessesRetried) / 4]).toBe(2);
});

test('an error with another target frame propagates, and leaves the stack pointer to the processor', () => {
  let exports: WebAssembly.Instance['exports'] = {};
  const { injected, imports } = machine(() => {
    getExportedFunction(exports, 'frame')(900);
    throw new WebAssembly.Exception(injected, []);
  });
  const linked = link(read(caller), { ...options, stubs: { ...options.stubs, stackPointer: 0 } });
  exports = new WebAssembly.Instance(compiled(linked), imports).exports;
  expect(() => getExportedFunction(exports, 'straight')(1)).toThrow(WebAssembly.Exception);
  expect(getExportedFunction(exports, 'pointer')()).toBe(900);
});

test('replaces imports in exports and tables with stubs, and omits unused stubs', () => {
  const text = `(module (import "b" "g" (func $g (param i32) (result i32))) (import "b" "unused" (func $u)) (table 1 funcref) (elem (i32.const 0) $g)
    (type $t (func (param i32) (result i32))) (export "again" (func $g)) (func (export "f") (result i32) (call_indirect (type $t) (i32.const 4) (i32.const 0))))`;
  const { imports } = machine((value) => value + 1);
  const linked = link(read(text), options);
  expect(namesOf(linked)).not.toContain('patchbay:offset:b.unused');
  const { exports } = new WebAssembly.Instance(compiled(linked), imports);
  expect([getExportedFunction(exports, 'again')(1), getExportedFunction(exports, 'f')()]).toEqual([2, 5]);
});

test('the same module produces the same bytes', () => {
  const bytes = () => encodeModule(link(before(read(caller), usesFuel), options));
  expect(bytes()).toEqual(bytes());
});
