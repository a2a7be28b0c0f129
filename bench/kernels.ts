// AssemblyScript kernels for the cost of safepoints: loops tight and nested, calls, recursion, parsing.

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

/** How often each kernel's work is done in one measurement. */
export const repetitions = { checksum: 2_000, sort: 40, multiply: 60, sieve: 300, parse: 400, recurse: 26 } as const;
