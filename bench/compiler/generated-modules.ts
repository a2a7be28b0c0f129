// Generates modules of any size, to measure how the compiler's time grows with the module.

import { compileAssemblyScript } from '../../src/compiler/assemblyscript.ts';
import { end, type Instruction, i32Const, ifBlock, localGet, localSet, plain } from '../../src/compiler/binary/instruction.ts';
import { encodeInstructions } from '../../src/compiler/binary/instruction-codec.ts';
import { encodeModule } from '../../src/compiler/binary/writer.ts';

/** Length of a chain of functions that call each other; the last one is exported. Short, because AssemblyScript's compiler recurses over the chain. */
const rowLength = 25;

/** Returns a function with a hash, a parser of digits and a sort, with its own constants. It calls the previous function of its chain. */
const functionText = (index: number) => `
${index % rowLength === rowLength - 1 ? 'export ' : ''}function work${index}(p: i32, n: i32): i32 {
  let hash: u32 = ${2_166_136_261 + index};
  for (let i = 0; i < n; i++) {
    hash ^= load<u8>(p + i, ${index % 512});
    hash *= ${16_777_619 + 2 * index};
    if ((hash & ${(index % 255) + 1}) == 0) hash = rotl<u32>(hash, ${(index % 31) + 1});
  }
  let value = 0;
  while (true) {
    const digit = load<u8>(p++) - 48;
    if (digit > 9) break;
    value = value * 10 + digit;
  }
  switch (value % 7) {
    case 0: store<i32>(p, hash); break;
    case 1: store<f64>(p, <f64>value * ${index}.5); break;
    case 3: value += ${index % rowLength === 0 ? 'n' : `work${index - 1}(p, n >> 1)`}; break;
    default: value -= ${index};
  }
  for (let gap = n >> 1; gap > 0; gap >>= 1) {
    for (let i = gap; i < n; i++) {
      const kept = load<i32>(p + (i << 2));
      let j = i;
      while (j >= gap && load<i32>(p + ((j - gap) << 2)) > kept) {
        store<i32>(p + (j << 2), load<i32>(p + ((j - gap) << 2)));
        j -= gap;
      }
      store<i32>(p + (j << 2), kept);
    }
  }
  return value ^ hash;
}`;

/** Generates a module of functions of about 400 bytes each. @param count Number of functions, a multiple of 25. */
export async function repeatedFunctions(count: number): Promise<Uint8Array> {
  const functions = Array.from({ length: count }, (_, index) => functionText(index)).join('\n');
  const compiled = await compileAssemblyScript('repeated', functions, []);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.diagnostics));
  return compiled.binary;
}

/** Returns `x = rotl(x * 31 + (p ^ constant), 7); if (!(x > p)) x -= p;` in 20 instructions. */
const line = (constant: number): Instruction[] => [
  localGet(1),
  i32Const(31),
  plain('i32.mul'),
  localGet(0),
  i32Const(constant),
  plain('i32.xor'),
  plain('i32.add'),
  i32Const(7),
  plain('i32.rotl'),
  localSet(1),
  localGet(1),
  localGet(0),
  plain('i32.gt_s'),
  plain('i32.eqz'),
  ifBlock(),
  localGet(1),
  localGet(0),
  plain('i32.sub'),
  localSet(1),
  end,
];

/** Generates a module of one function with the given number of instructions. */
export function longFunction(instructions: number): Uint8Array {
  const lines = Array.from({ length: Math.floor(instructions / 20) }, (_, index) => line(index));
  const { body } = encodeInstructions([...lines.flat(), localGet(1)]);
  return encodeModule({
    types: [{ parameters: ['i32'], results: ['i32'] }],
    imports: [],
    functions: [{ type: 0, locals: [{ count: 1, type: 'i32' }], body }],
    tables: [],
    memories: [],
    globals: [],
    exports: [{ name: 'run', kind: 'function', index: 0 }],
    start: null,
    elements: [],
    data: [],
    hasDataCount: false,
    functionNames: new Map(),
    customSections: [],
  });
}
