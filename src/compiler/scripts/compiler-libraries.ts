// binaryen and AssemblyScript's compiler as a worker thread reads them soonest: binaryen's WebAssembly as a file, not as a text of 13 MB in
// JavaScript, and AssemblyScript on the same binaryen as ours.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';

/** The folder to write to. */
const [generated = ''] = process.argv.slice(2);
if (generated === '') throw new Error('give the folder to write to');
const sourceOf = (name: string) => readFileSync(fileURLToPath(import.meta.resolve(name)), 'utf8');

/** Where binaryen decodes its WebAssembly: a text with one character for each byte, any from 256 on for 0. */
const decoding = /(\w+\?\?=)\w+\((?=`\\0asm)/g;

function writeBinaryen(): void {
  const text = sourceOf('binaryen');
  const [found, ...others] = text.matchAll(decoding);
  if (found?.[1] === undefined || others.length > 0) throw new Error('binaryen does not decode its WebAssembly once');
  const start = found.index + found[0].length;
  const end = endOfTemplate(text, start);
  const characters: unknown = runInNewContext(text.slice(start, end));
  if (typeof characters !== 'string') throw new Error('what binaryen decodes is no text');
  const bytes = Uint8Array.from(characters, (character) => (character.charCodeAt(0) < 256 ? character.charCodeAt(0) : 0));
  // It throws where the bytes are not what they should be.
  new WebAssembly.Module(bytes);
  writeFileSync(`${generated}/binaryen.wasm`, bytes);
  const fromFile = `${found[1]}readFileSync(new URL("./binaryen.wasm",import.meta.url)`;
  writeFileSync(
    `${generated}/binaryen.js`,
    `import{readFileSync}from"node:fs";\n${text.slice(0, found.index)}${fromFile}${text.slice(end)}`,
  );
  writeTypes('binaryen', 'binaryen');
}

/** Past the closing quote of the template text that starts there. */
function endOfTemplate(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && text[end] !== '`') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

/** A module of AssemblyScript's with the others from beside it, but for `long`, which is found as it is by AssemblyScript. */
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
