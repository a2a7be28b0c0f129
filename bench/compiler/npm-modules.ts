// Real WebAssembly modules from npm packages that the project depends on, adapted so that a device can load them.

import { existsSync, readFileSync } from 'node:fs';
import { i32Const } from '../../src/compiler/binary/instruction.ts';
import { encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import { type Global, type Import, importsOf, type Limits, type Module } from '../../src/compiler/binary/module.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';

export type NpmModule = {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Description of the replaced imports. */
  readonly replaced: string;
};

const folder = new URL('../../node_modules/', import.meta.url);
/** Two builds of a parser in C, a program and a tool in C (emscripten), and a codec in C++; 54 KB to 657 KB. */
const files = [
  'undici/lib/llhttp/llhttp-wasm.js',
  'undici/lib/llhttp/llhttp_simd-wasm.js',
  '@electric-sql/pglite/dist/initdb.wasm',
  'playwright-core/lib/webp_codec.wasm',
  '@electric-sql/pglite-tools/dist/pg_dump.wasm',
];

/** Reads the modules. @throws {Error} if a package is not installed. */
export function readNpmModules(): NpmModule[] {
  return files.map((file) => {
    const url = new URL(file, folder);
    if (!existsSync(url)) throw new Error(`node_modules/${file} does not exist: run \`npm ci\``);
    const bytes = readFileSync(url);
    const module = decodeModule(file.endsWith('.wasm') ? bytes : embedded(file, bytes.toString()));
    return { name: file.replace(/^.*\//, ''), bytes: encodeModule(withoutForeignImports(module)), replaced: replacedImports(module) };
  });
}

/** Decodes the module that a JavaScript file contains as base64. */
function embedded(file: string, text: string): Uint8Array {
  const found = /["'`](AGFzbQ[\w+/]+=*)["'`]/.exec(text)?.[1];
  if (found === undefined) throw new Error(`node_modules/${file} contains no WebAssembly module: adapt the list of modules`);
  return Buffer.from(found, 'base64');
}

/** Name of the module that provides the imported functions. */
const importModule = 'host';
/** Value of imported constants (base of the data, base of the table), and the size reserved below it. */
const base = 1_024;

/** Renames imported functions, and turns imported memories, tables and globals into the module's own, in the same order, so that no index changes. */
function withoutForeignImports(module: Module): Module {
  const imports: readonly Import[] = importsOf(module, 'function').map((item, index) => ({
    ...item,
    module: importModule,
    name: `f${index}`,
  }));
  const tables = importsOf(module, 'table').map(({ table }) => ({ ...table, limits: withRoom(table.limits, base) }));
  const memories = importsOf(module, 'memory').map(({ memory }) => memory);
  const globals = importsOf(module, 'global').map(ownGlobal);
  return {
    ...module,
    imports,
    tables: [...tables, ...module.tables],
    memories: [...memories, ...module.memories],
    globals: [...globals, ...module.globals],
  };
}

const withRoom = ({ initial, maximum }: Limits, more: number): Limits => ({ initial: initial + more, maximum });

function ownGlobal({ global, module, name }: Extract<Import, { readonly kind: 'global' }>): Global {
  if (global.value !== 'i32') throw new Error(`the imported global "${module}" "${name}": expected i32, received ${global.value}`);
  return { type: global, init: encodeInstructions([i32Const(base)]).body };
}

function replacedImports({ imports }: Module): string {
  const count = (wanted: Import['kind']) => imports.filter(({ kind }) => kind === wanted).length;
  const own = (['memory', 'table', 'global'] as const).filter((kind) => count(kind) > 0).map((kind) => `${count(kind)} ${kind}`);
  return `${count('function')} functions renamed${own.length === 0 ? '' : `, own ${own.join(', ')}`}`;
}
