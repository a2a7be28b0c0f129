// AssemblyScript kernels that measure the cost of safepoints: tight and nested loops, calls, recursion, parsing.

export const kernels = `
const bytes = new StaticArray<u8>(4096);
const words = new StaticArray<i32>(1024);
const matrix = new StaticArray<f64>(3 * 32 * 32);

export function checksum(n: i32): i32 {
  let sum: u32 = 0;
  for (let r = 0; r < n; r++) {
    for (let i = 0; i < 4096; i++) sum += unchecked(bytes[i]);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

export function sort(n: i32): i32 {
  for (let r = 0; r < n; r++) {
    for (let i = 0; i < 1024; i++) unchecked(words[i] = (i * 7919 + r) & 1023);
    for (let gap = 512; gap > 0; gap >>= 1) {
      for (let i = gap; i < 1024; i++) {
        const value = unchecked(words[i]);
        let j = i;
        while (j >= gap && unchecked(words[j - gap]) > value) { unchecked(words[j] = words[j - gap]); j -= gap; }
        unchecked(words[j] = value);
      }
    }
  }
  return unchecked(words[512]);
}

export function multiply(n: i32): i32 {
  for (let r = 0; r < n; r++) {
    for (let i = 0; i < 32; i++) {
      for (let j = 0; j < 32; j++) {
        let sum: f64 = 0;
        for (let k = 0; k < 32; k++) sum += unchecked(matrix[i * 32 + k]) * unchecked(matrix[1024 + k * 32 + j]);
        unchecked(matrix[2048 + i * 32 + j] = sum + 1);
      }
    }
  }
  return <i32>unchecked(matrix[2048]);
}

export function sieve(n: i32): i32 {
  let primes = 0;
  for (let r = 0; r < n; r++) {
    primes = 0;
    for (let i = 0; i < 4096; i++) unchecked(bytes[i] = 1);
    for (let i = 2; i < 4096; i++) {
      if (unchecked(bytes[i])) { primes++; for (let j = i + i; j < 4096; j += i) unchecked(bytes[j] = 0); }
    }
  }
  return primes;
}

function isSpace(c: u8): bool { return c == 32 || c == 10; }
function skip(at: i32): i32 { while (at < 4096 && isSpace(unchecked(bytes[at]))) at++; return at; }
function number(at: i32): i32 { while (at < 4096 && unchecked(bytes[at]) >= 48 && unchecked(bytes[at]) <= 57) at++; return at; }

export function parse(n: i32): i32 {
  let depth = 0;
  let numbers = 0;
  for (let r = 0; r < n; r++) {
    for (let i = 0; i < 4096; i++) unchecked(bytes[i] = <u8>(i % 11 == 0 ? 91 : i % 11 == 10 ? 93 : i % 3 == 0 ? 44 : i % 5 == 0 ? 32 : 49));
    for (let at = 0; at < 4096; ) {
      at = skip(at);
      if (at >= 4096) break;
      const c = unchecked(bytes[at]);
      if (c == 91) { depth++; at++; } else if (c == 93) { depth--; at++; } else if (c >= 48 && c <= 57) { numbers++; at = number(at); } else at++;
    }
  }
  return numbers + depth;
}

export function recurse(n: i32): i32 { return n < 2 ? n : recurse(n - 1) + recurse(n - 2); }
`;

/** Repetitions of each kernel in one measurement: about half a millisecond, short enough that some measurements run undisturbed. */
export const repetitions = { checksum: 200, sort: 30, multiply: 15, sieve: 60, parse: 25, recurse: 26 } as const;

/** Exports of `longInstructionsText`, which take no parameters. */
export const longInstructions = [
  'fill',
  'copy up',
  'copy down',
  'init',
  'grow memory',
  'fill table',
  'copy table',
  'grow table',
  'init table',
  'divide',
  'chase',
] as const;

const loopOf = (times: number, body: string) =>
  `(loop $l ${body} (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const ${times}))))`;

/** The operations that take an engine longest: whole memories and tables, slow arithmetic, memory accesses that miss every cache. */
export const longInstructionsText = `(module
  (memory 256 256)
  (table $t 60000 65536 funcref)
  (table $u 1 65536 funcref)
  (func $f (result i32) (i32.const 1))
  (elem declare func $f)
  (elem $e func ${'$f '.repeat(20_000)})
  (data $d "${'0123456789abcdef'.repeat(65_536)}")
  (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)))
  (func (export "copy up") (memory.copy (i32.const 8388608) (i32.const 0) (i32.const 8388608)))
  (func (export "copy down") (memory.copy (i32.const 0) (i32.const 1) (i32.const 16777215)))
  (func (export "init") (local $i i32) ${loopOf(16, '(memory.init $d (i32.mul (local.get $i) (i32.const 1048576)) (i32.const 0) (i32.const 1048576))')})
  (func (export "grow memory") (local $i i32) ${loopOf(10_000, '(drop (memory.grow (i32.const 0)))')})
  (func (export "fill table") (table.fill $t (i32.const 0) (ref.func $f) (i32.const 60000)))
  (func (export "copy table") (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 59999)))
  (func (export "grow table") (local $i i32) ${loopOf(50, '(drop (table.grow $u (ref.func $f) (i32.const 650)))')})
  (func (export "init table") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 20000)))
  (func (export "divide") (local $i i32) (local $x i64) (local.set $x (i64.const -2))
    ${loopOf(3_000_000, '(local.set $x (i64.xor (i64.div_s (i64.const 0x7fffffffffffffff) (i64.or (local.get $x) (i64.const 1))) (i64.extend_i32_u (local.get $i))))')}
    (i64.store (i32.const 0) (local.get $x)))
  (func (export "chase") (local $i i32) (local $x i32)
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))
    ${loopOf(3_000_000, '(local.set $x (i32.add (i32.and (i32.mul (i32.add (local.get $x) (local.get $i)) (i32.const -1640531527)) (i32.const 0xfffffc)) (i32.and (i32.load (local.get $x)) (i32.const 0))))')}
    (i32.store (i32.const 0) (local.get $x))))`;
