// Prisma's compilers of queries, as files of WebAssembly beside the clients: most of the time in which a client is made ready goes into reading
// them, where they are texts in JavaScript as Prisma brings them.

import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const [generated] = process.argv.slice(2);
if (generated === undefined) throw new Error('give the folder in which the clients were generated');

/** Where a client takes its compiler from, as Prisma writes it. */
const loading = /const \{ wasm \} = await import\("(@prisma\/client\/runtime\/\S+)"\)\s+return await decodeBase64AsWasm\(wasm\)/g;

for (const client of ['class', 'postgresql']) {
  const file = `${generated}/internal/${client}.ts`;
  const text = readFileSync(file, 'utf8');
  const [found, ...others] = text.matchAll(loading);
  if (found?.[1] === undefined || others.length > 0) throw new Error(`${file} does not load its compiler of queries once`);
  const { wasm } = z.object({ wasm: z.base64() }).parse(await import(found[1]));
  writeFileSync(`${generated}/internal/${client}.wasm`, Buffer.from(wasm, 'base64'));
  const fromFile = `const { readFileSync } = await import("node:fs")
    return new WebAssembly.Module(readFileSync(new URL("./${client}.wasm", import.meta.url)))`;
  writeFileSync(file, text.replace(found[0], fromFile));
}
