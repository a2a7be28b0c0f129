// The compiler's time for real modules, compared with binaryen's read, -O1 and write of the same module (goal: at most 3 times).

import console from 'node:console';
import { globSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Module } from '../src/compiler/binary/module.ts';
import { decodeModule } from '../src/compiler/binary/reader.ts';
import { encodeModule } from '../src/compiler/binary/writer.ts';
import { acceptedFeatures, binaryen } from '../src/compiler/binaryen.ts';
import { compile } from '../src/compiler/compilation.ts';

/** Sizes of the modules, in bytes. */
const smallest = 50_000;
const largest = 1_100_000;

/** A name that a module of a device can have, for the imports of JavaScript's runtimes. */
const importModule = 'host';

/** Imports no device has become imports of another module; a module that imports anything but functions is left out. */
function withPlainImports(module: Module): Module | string {
  const other = module.imports.find(({ kind }) => kind !== 'function');
  if (other !== undefined) return `imports the ${other.kind} "${other.module}" "${other.name}"`;
  return { ...module, imports: module.imports.map((item, index) => ({ ...item, module: importModule, name: `f${index}` })) };
}

function optimizeOnly(bytes: Uint8Array): void {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(acceptedFeatures);
  binaryen.setOptimizeLevel(1);
  binaryen.setShrinkLevel(0);
  module.optimize();
  module.emitBinary();
  module.dispose();
}

async function measure(file: string): Promise<void> {
  const name = basename(file);
  try {
    const module = withPlainImports(decodeModule(readFileSync(file)));
    if (typeof module === 'string') {
      console.log(`${name}: left out, ${module}`);
      return;
    }
    const source = encodeModule(module);
    const before = performance.now();
    optimizeOnly(source);
    const between = performance.now();
    const { result } = await compile({ kind: 'module', module: 'm', version: '1.0.0', language: 'wasm', source });
    const after = performance.now();
    const outcome = result.ok ? `image ${result.compiled.image.length} bytes` : `refused: ${result.diagnostics[0]?.message}`;
    const [reference, own] = [between - before, after - between];
    console.log(
      `${name}: ${source.length} bytes, ${module.imports.length} imports renamed; binaryen ${reference.toFixed(0)} ms, compiler ${own.toFixed(0)} ms (${(own / reference).toFixed(2)} times); ${outcome}`,
    );
  } catch (error) {
    console.log(`${name}: left out, ${error instanceof Error ? error.message : String(error)}`);
  }
}

const files = globSync('node_modules/**/*.wasm').filter((file) => {
  const { size } = statSync(file);
  return size >= smallest && size <= largest;
});
for (const file of files.toSorted()) await measure(file);
