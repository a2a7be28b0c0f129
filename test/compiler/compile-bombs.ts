// Sources that need much more work than their size suggests.

import { call, i32Const } from '../../src/compiler/binary/instruction.ts';
import { encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import { decodeModule } from '../../src/compiler/binary/reader.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';
import type { CompileRequest } from '../../src/compiler/result.ts';

type Source = Pick<CompileRequest, 'language' | 'source'>;

const numbered = (count: number, line: (index: number) => string) => Array.from({ length: count }, (_, index) => line(index)).join('\n');
const empty = decodeModule(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));

/** 46 KB of calls with 1,000 parameters and results each, for which binaryen needs more than 1 GiB. */
export function wideCalls(): Source {
  const values = Array.from({ length: 1_000 }, () => 'i32' as const);
  const { body } = encodeInstructions([...values.map(() => i32Const(1)), ...Array.from({ length: 11_000 }, () => call(0))]);
  const functions = [0, 1].map(() => ({ type: 0, locals: [], body }));
  const types = [{ parameters: values, results: values }];
  return { language: 'wasm', source: encodeModule({ ...empty, types, functions, exports: [{ name: 'f', kind: 'function', index: 0 }] }) };
}

/** 2 KB that AssemblyScript's compiler expands to a million copies of one function. */
export function exponentialInlining(): Source {
  const inlined = numbered(20, (index) => `@inline function f${index + 1}(p: i32): i32 { return f${index}(p) + f${index}(p + 1); }`);
  const source = `@inline function f0(p: i32): i32 { return p * 31 + (p ^ 7); }\n${inlined}\nexport function f(p: i32): i32 { return f20(p); }`;
  return { language: 'assemblyscript', source };
}

/** A source of about 50 bytes per line, 1 MB by default, which compiles. */
export function longFunction(lines = 20_000): Source {
  const body = numbered(lines, (index) => `x = x * 31 + (p ^ ${index}); if (x > p) { x -= p; }`);
  return { language: 'assemblyscript', source: `export function f(p: i32): i32 { let x: i32 = 1;\n${body}\nreturn x; }` };
}

/** 4 MB of functions of the maximum size that is optimized, which compiles. */
export function manyInstructions(): Source {
  const pattern = [0x20, 0x00, 0x45, 0x1a];
  const body = Uint8Array.from({ length: 24_000 }, (_, index) => pattern[index % pattern.length] ?? 0);
  const functions = Array.from({ length: 170 }, () => ({ type: 0, locals: [], body }));
  const types = [{ parameters: ['i32' as const], results: [] }];
  return { language: 'wasm', source: encodeModule({ ...empty, types, functions, exports: [{ name: 'f', kind: 'function', index: 0 }] }) };
}
