// Modules in the text format that together contain every section and every kind of immediate, for tests of the binary format.

import { binaryen, supportedFeatures } from '../../src/compiler/binaryen.ts';

const texts = {
  empty: '(module)',
  numbers: `(module (func (export "f") (result i64 f32 f64)
    (i64.const -9223372036854775808) (f32.const nan:0x200001) (f64.const -nan:0x4000000000001))
    (func (export "g") (param i64) (result i32 i64)
      (i32.const -2147483648) (i64.add (i64.const 0x7fffffffffffffff) (i64.extend16_s (local.get 0))))
    (func (export "h") (param f64) (result i64) (i64.trunc_sat_f64_u (local.get 0))))`,
  blocks: `(module
    (func $f (export "f") (param i32) (result i32) (local i64 i64 f32 i64)
      (block $out (result i32)
        (loop $next (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (block $a (block $b (br_table $a $b $a (local.get 0))))
        (if (result i32) (local.get 0) (then (call $f (i32.const 3))) (else (br $out (i32.const 4)))))))`,
  multiValue: `(module (type $two (func (param i32) (result i32 i32)))
    (func (export "f") (type $two) (local.get 0) (block (type $two) (i32.const 1))))`,
  memory: `(module (memory (export "m") 1 4) (data $d "passive") (data (i32.const 8) "active\\00\\ff")
    (func (export "f") (param i32)
      (i64.store32 offset=4294967295 align=1 (local.get 0) (i64.load8_s offset=7 (local.get 0)))
      (memory.init $d (i32.const 0) (i32.const 0) (i32.const 7)) (data.drop $d)
      (memory.copy (i32.const 1) (i32.const 2) (i32.const 3)) (memory.fill (i32.const 1) (i32.const 2) (i32.const 3))
      (drop (memory.grow (memory.size)))))`,
  tables: `(module (type $t (func (result i32)))
    (table $first 2 10 funcref) (table $second (export "t") 3 externref) (table $third 4 funcref)
    (elem (table $first) (i32.const 0) func $f $f) (elem (table $third) (i32.const 1) func $f)
    (elem $p func $f) (elem $e funcref (ref.func $f) (ref.null func)) (elem declare func $f)
    (func $f (type $t) (i32.const 1))
    (func (export "f") (param externref) (result i32)
      (table.set $second (i32.const 0) (local.get 0)) (drop (ref.is_null (table.get $second (i32.const 0))))
      (table.init $first $p (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $p)
      (table.copy $first $third (i32.const 0) (i32.const 0) (i32.const 1))
      (table.fill $first (i32.const 0) (ref.func $f) (i32.const 1)) (drop (table.grow $third (ref.null func) (table.size $first)))
      (drop (select (result externref) (local.get 0) (ref.null extern) (i32.const 1)))
      (call_indirect $third (type $t) (i32.const 1))))`,
  imports: `(module (import "kernel" "emit" (func $emit (param i32 i64))) (import "a" "g" (global $g i32)) (import "a" "h" (global $h (mut f64)))
    (import "a" "t" (table 1 funcref)) (import "a" "m" (memory 1))
    (global $own (export "own") (mut i32) (i32.add (global.get $g) (i32.const 5))) (global $v v128 (v128.const i32x4 1 2 3 4))
    (start $s) (func $s (global.set $own (global.get $g)) (global.set $h (f64.const 1)) (call $emit (i32.const 1) (i64.const 2)))
    (export "\\e2\\82\\ac \\f0\\9f\\98\\80" (func $s)))`,
  simd: `(module (memory 1) (func (export "f") (param v128) (result v128)
    (v128.store offset=3 (i32.const 0) (i8x16.shuffle 0 1 2 3 4 5 6 7 24 25 26 27 28 29 30 31 (local.get 0) (v128.load8x8_s (i32.const 1))))
    (drop (i16x8.extract_lane_u 7 (local.get 0)))
    (v128.load16_lane offset=1 2 (i32.const 0) (f32x4.add (local.get 0) (v128.load32_zero (i32.const 4))))))`,
} as const;

/** The samples: name and bytes. */
export const samples: readonly (readonly [name: string, bytes: Uint8Array<ArrayBuffer>])[] = Object.entries(texts).map(([name, text]) => [
  name,
  assembleText(text, supportedFeatures),
]);

/** Assembles the text format without optimization, for an engine with the given features. */
export function assembleText(text: string, features: number = binaryen.Features.All): Uint8Array<ArrayBuffer> {
  const module = binaryen.parseText(text);
  try {
    module.setFeatures(features);
    return new Uint8Array(module.emitBinary());
  } finally {
    module.dispose();
  }
}
