// Generates copies of binaryen and AssemblyScript's compiler that a worker thread loads faster: binaryen's WebAssembly is a file instead of 13 MB of
// text in JavaScript, and AssemblyScript imports the same copy of binaryen.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';

/** The output folder. */
const [generated = ''] = process.argv.slice(2);
if (generated === '') throw new Error('expected the output folder as the first argument');
const sourceOf = (name: string) => readFileSync(fileURLToPath(import.meta.resolve(name)), 'utf8');

/** Matches binaryen's decoding of its WebAssembly, a text with one character per byte; characters from 256 stand for 0. */
const decoding = /(\w+\?\?=)\w+\((?=`\\0asm)/g;

function writeBinaryen(): void {
  const text = sourceOf('binaryen');
  const [found, ...others] = text.matchAll(decoding);
  if (found?.[1] === undefined || others.length > 0)
    throw new Error(
      `expected binaryen to decode its WebAssembly once, found ${others.length + (found === undefined ? 0 : 1)} places: adapt this script`,
    );
  const start = found.index + found[0].length;
  const end = endOfTemplate(text, start);
  const characters: unknown = runInNewContext(text.slice(start, end));
  if (typeof characters !== 'string')
    throw new Error(`expected binaryen to decode a string, found ${typeof characters}: adapt this script`);
  const bytes = Uint8Array.from(characters, (character) => (character.charCodeAt(0) < 256 ? character.charCodeAt(0) : 0));
  // Throws if the bytes are not a valid module.
  new WebAssembly.Module(bytes);
  writeFileSync(`${generated}/binaryen.wasm`, bytes);
  const fromFile = `${found[1]}readFileSync(new URL("./binaryen.wasm",import.meta.url)`;
  writeFileSync(
    `${generated}/binaryen.js`,
    `import{readFileSync}from"node:fs";\n${text.slice(0, found.index)}${fromFile}${text.slice(end)}`,
  );
  writeTypes('binaryen', 'binaryen');
}

/** Returns the position after the closing quote of the template literal at a position. */
function endOfTemplate(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && text[end] !== '`') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

/** Writes a module of AssemblyScript that imports the other copies. `long` is imported from its package. */
function writeAssemblyScript(file: string, name: string): void {
  const text = sourceOf(name).replaceAll(
    /\b(from|import) ?"(binaryen|assemblyscript)"/g,
    (_import, keyword, other) => `${keyword}"./${other}.js"`,
  );
  writeFileSync(`${generated}/${file}.js`, text);
}

function writeTypes(file: string, name: string): void {
  writeFileSync(`${generated}/${file}.d.ts`, `export * from '${name}';\nexport { default } from '${name}';\n`);
}

mkdirSync(generated, { recursive: true });
writeBinaryen();
writeAssemblyScript('assemblyscript', 'assemblyscript');
writeAssemblyScript('asc', 'assemblyscript/asc');
writeTypes('asc', 'assemblyscript/asc');
