// `npm run bench:compiler`: measures the compiler's time for real modules relative to binaryen's, and its growth with module size. The exit code is 1
// if a bound is exceeded.

import console from 'node:console';
import { parseArgs } from 'node:util';
import { readInteger } from '../src/cli/option-values.ts';
import { formatTable } from '../src/cli/terminal/table.ts';
import { binaryen, supportedFeatures } from '../src/compiler/binaryen.ts';
import { compile } from '../src/compiler/compilation.ts';
import { longFunction, repeatedFunctions } from './compiler/generated-modules.ts';
import { readNpmModules } from './compiler/npm-modules.ts';

const usage = `Usage: npm run bench:compiler -- [options]

Measures compilations of five modules from npm packages, alternating with binaryen's read, -O1 and write of the same modules, and compilations of
generated modules of several sizes. All times are medians. The exit code is 1 if a bound is exceeded.

Options:
  --rounds N   rounds of each measurement (3)
  --json       print JSON
  --help
`;

/** Upper bounds: the compiler's time relative to binaryen's, and the time per byte relative to that of the smallest module. */
const bounds = { ratio: 3, growth: 1.5 } as const;
/** Number of functions of the smallest generated module, and the multiples of it. */
const repeated = { functions: 250, multiples: [1, 2, 4, 8] } as const;
/** Instructions of one function. */
const functionSizes = [50_000, 200_000] as const;

type ModuleRow = {
  readonly module: string;
  readonly imports: string;
  readonly bytes: number;
  readonly binaryen: number;
  readonly compiler: number;
  readonly ratio: number;
  readonly holds: boolean;
};
type GrowthRow = {
  readonly what: string;
  readonly bytes: number;
  readonly compiler: number;
  /** Time per byte relative to that of the smallest module. */
  readonly growth: number;
  readonly holds: boolean;
};
type Sized = { readonly what: string; readonly bytes: Uint8Array };

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(usage);
else process.exitCode = await bench(readInteger('rounds', values.rounds, 1, 100), values.json);

/** Returns the exit code. */
async function bench(rounds: number, isJson: boolean): Promise<number> {
  const modules: ModuleRow[] = [];
  for (const { name, bytes, replaced } of readNpmModules()) {
    const [reference = 0, own = 0] = await medians(rounds, [() => optimizeOnly(bytes), () => compileOnly(bytes)]);
    const ratio = own / reference;
    const row = { module: name, imports: replaced, bytes: bytes.length, binaryen: reference, compiler: own };
    modules.push({ ...row, ratio, holds: ratio <= bounds.ratio });
  }
  const growth = [
    ...(await measureGrowth(rounds, await generatedModules())),
    ...(await measureGrowth(
      rounds,
      functionSizes.map((size) => ({ what: `one function of ${size.toLocaleString('en')} instructions`, bytes: longFunction(size) })),
    )),
  ];
  console.log(isJson ? JSON.stringify({ modules, growth }, null, 2) : report(modules, growth));
  return [...modules, ...growth].every(({ holds }) => holds) ? 0 : 1;
}

/** Returns medians in milliseconds. The runs alternate, so that other load on the machine affects all of them. The first round is a warm-up. */
async function medians(rounds: number, runs: readonly (() => unknown)[]): Promise<number[]> {
  const times = runs.map((): number[] => []);
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, run] of runs.entries()) {
      globalThis.gc?.();
      const begun = performance.now();
      await run();
      if (round > 0) times[index]?.push(performance.now() - begun);
    }
  }
  return times.map((own) => own.toSorted((left, right) => left - right)[Math.floor(own.length / 2)] ?? 0);
}

/** Runs binaryen alone, as the baseline. */
function optimizeOnly(bytes: Uint8Array): void {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(supportedFeatures);
  binaryen.setOptimizeLevel(1);
  binaryen.setShrinkLevel(0);
  module.optimize();
  module.emitBinary();
  module.dispose();
}

async function compileOnly(source: Uint8Array): Promise<void> {
  const { result } = await compile({ kind: 'module', module: 'm', version: '1.0.0', language: 'wasm', source });
  if (!result.ok) throw new Error(`a module was rejected: ${result.diagnostics[0]?.message}`);
}

async function generatedModules(): Promise<Sized[]> {
  const modules: Sized[] = [];
  for (const multiple of repeated.multiples) {
    const functions = repeated.functions * multiple;
    modules.push({ what: `${multiple}× (${functions.toLocaleString('en')} functions)`, bytes: await repeatedFunctions(functions) });
  }
  return modules;
}

async function measureGrowth(rounds: number, modules: readonly Sized[]): Promise<GrowthRow[]> {
  const times = await medians(
    rounds,
    modules.map(
      ({ bytes }) =>
        () =>
          compileOnly(bytes),
    ),
  );
  const perByte = modules.map(({ bytes }, index) => (times[index] ?? 0) / bytes.length);
  return modules.map(({ what, bytes }, index) => {
    const growth = (perByte[index] ?? 0) / (perByte[0] ?? 1);
    return { what, bytes: bytes.length, compiler: times[index] ?? 0, growth, holds: growth <= bounds.growth };
  });
}

function report(modules: readonly ModuleRow[], growth: readonly GrowthRow[]): string {
  const text = (holds: boolean) => (holds ? 'yes' : 'NO');
  return [
    ...formatTable(
      ['module', 'bytes', 'binaryen ms', 'compiler ms', 'ratio', `holds (≤ ${bounds.ratio})`, 'imports'],
      modules.map((row) => [
        row.module,
        row.bytes,
        Math.round(row.binaryen),
        Math.round(row.compiler),
        row.ratio.toFixed(2),
        text(row.holds),
        row.imports,
      ]),
    ),
    '',
    ...formatTable(
      ['generated module', 'bytes', 'compiler ms', 'time per byte, relative', `holds (≤ ${bounds.growth})`],
      growth.map((row) => [row.what, row.bytes, Math.round(row.compiler), row.growth.toFixed(2), text(row.holds)]),
    ),
  ].join('\n');
}
