// The module `spectest` that the suite's scripts import: its functions, without output.

import { bytes, preamble, section, text, unsigned, vector } from './module-bytes.ts';

const i32 = [0x7f];
const i64 = [0x7e];
const f32 = [0x7d];
const f64 = [0x7c];

const prints: readonly (readonly [string, readonly (readonly number[])[]])[] = [
  ['print', []],
  ['print_i32', [i32]],
  ['print_i64', [i64]],
  ['print_f32', [f32]],
  ['print_f64', [f64]],
  ['print_i32_f32', [i32, f32]],
  ['print_f64_f64', [f64, f64]],
];

export const spectestModule = Uint8Array.from(
  bytes(
    preamble,
    section(1, vector(prints.map(([, parameters]) => bytes(0x60, vector(parameters), 0)))),
    section(3, vector(prints.map((_, index) => unsigned(index)))),
    section(7, vector(prints.map(([name], index) => bytes(text(name), 0, unsigned(index))))),
    section(10, vector(prints.map(() => [2, 0, 0x0b]))),
  ),
);
