// Runs one script of the WebAssembly test suite through the compiler and a device, command by command.

import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { compile } from '../../src/compiler/compilation.ts';
import type { CompiledImage, CompileResult } from '../../src/compiler/result.ts';
import type { VerifiedImage } from '../../src/machine/index.ts';
import { CallError, Device, type HostCall, Processor } from '../../src/machine/index.ts';
import { readVerified } from '../machine/read-verified.ts';
import { checkerExport, checkerModule, checkerOperation, checkerType, firstResult, isCheckable, wordsOfValue } from './checker.ts';
import { exportedGlobals, featureOf, isGrowthPastLimit, isTrap, memoryGrowth, references } from './features.ts';
import { importedModules, renameImports } from './module-bytes.ts';
import { type Action, type Command, readScript, type Value } from './script.ts';
import { spectestModule } from './spectest.ts';
import { bitsOf, isNumber, matches, printBits } from './values.ts';

/** The result of one command. A module counts as a command, a registration does not. */
type Verdict =
  | { readonly kind: 'passed' }
  | { readonly kind: 'refused'; readonly feature: string }
  | { readonly kind: 'failed'; readonly reason: string };

export type CommandResult = { readonly type: Command['type']; readonly line: number; readonly verdict: Verdict };
export type ScriptResult = { readonly script: string; readonly results: readonly CommandResult[] };

const passed: Verdict = { kind: 'passed' };
const refused = (feature: string): Verdict => ({ kind: 'refused', feature });
const failed = (reason: string): Verdict => ({ kind: 'failed', reason });

/** Time limit of a call, in milliseconds. */
const callDeadline = 30_000;
const ramPages = 65_536;

/** A loaded module, or the reason why it is not loaded. */
type Loaded =
  | {
      readonly ok: true;
      readonly module: string;
      readonly compiled: CompiledImage;
      readonly indices: ReadonlyMap<string, number>;
      readonly checker: HostCall;
    }
  | { readonly ok: false; readonly verdict: Verdict };

/** Runs a script on a new device. */
export async function runScript(path: string): Promise<ScriptResult> {
  const run = new ScriptRun(dirname(path));
  try {
    return { script: basename(path, '.json'), results: await run.run(await readScript(path)) };
  } finally {
    await run.close();
  }
}

const absent: Loaded = { ok: false, verdict: failed('no module is loaded') };

class ScriptRun {
  readonly #folder: string;
  readonly #processor = new Processor();
  readonly #device = new Device({ processor: this.#processor, ramPages });
  readonly #named = new Map<string, Loaded>();
  /** Modules by the name under which the script registered them. */
  readonly #registered = new Map<string, Loaded>();
  /** Modules that a refused module would have changed, with the reason for the refusal. */
  readonly #unchanged = new Map<string, string>();
  #current: Loaded = absent;
  #modules = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async run(commands: readonly Command[]): Promise<CommandResult[]> {
    const spectest = await this.#add(spectestModule);
    if (!spectest.ok) throw new Error(`the module spectest is not accepted: ${JSON.stringify(spectest.verdict)}`);
    this.#registered.set('spectest', spectest);
    const results: CommandResult[] = [];
    for (const command of commands) {
      const verdict = await this.#execute(command);
      if (verdict !== null) results.push({ type: command.type, line: command.line, verdict });
    }
    return results;
  }

  async close(): Promise<void> {
    await this.#device.close();
    this.#processor.close();
  }

  async #execute(command: Command): Promise<Verdict | null> {
    switch (command.type) {
      case 'module':
        return this.#module(command);
      case 'register':
        this.#registered.set(command.as, this.#find(command.name));
        return null;
      case 'action':
        return this.#return(command.action, null);
      case 'assert_return':
        return this.#return(command.action, command.either?.map((value) => [value]) ?? [command.expected ?? []]);
      case 'assert_trap':
      case 'assert_exhaustion':
        return this.#trap(command.action, command.text);
      case 'assert_invalid':
      case 'assert_malformed':
        return this.#invalid(command.filename);
      case 'assert_unlinkable':
      case 'assert_uninstantiable':
        return this.#unusable(command.filename);
    }
  }

  #find(name: string | undefined): Loaded {
    return name === undefined ? this.#current : (this.#named.get(name) ?? absent);
  }

  async #module({ filename, name }: { filename: string; name?: string | undefined }): Promise<Verdict> {
    this.#current = await this.#add(await readFile(join(this.#folder, filename)));
    if (name !== undefined) this.#named.set(name, this.#current);
    return this.#current.ok ? passed : this.#current.verdict;
  }

  /** Compiles a module, loads it under a unique name, and opens its checker. */
  async #add(source: Uint8Array): Promise<Loaded> {
    const module = `module-${this.#modules}`;
    this.#modules += 1;
    const result = await this.#compile(module, source);
    if (!result.ok) {
      const verdict = verdictOf(result);
      this.#noteUnchanged(source, verdict);
      return { ok: false, verdict };
    }
    const reason = await this.#load(result.compiled);
    if (reason !== null) return { ok: false, verdict: failed(`the load: ${reason}`) };
    const functions = result.compiled.interface.exports.filter(isCheckable);
    const indices = new Map(functions.map(({ name }, index) => [name, index]));
    return { ok: true, module, compiled: result.compiled, indices, checker: await this.#openChecker(module, functions) };
  }

  async #openChecker(module: string, functions: CompiledImage['interface']['exports']): Promise<HostCall> {
    const checker = `${module}-checker`;
    const { result } = await compile({
      kind: 'module',
      module: checker,
      version: '1.0.0',
      language: 'wasm',
      source: checkerModule(module, functions),
    });
    if (!result.ok) throw new Error(`the checker of ${module} is not accepted: ${JSON.stringify(result.diagnostics)}`);
    const reason = await this.#load(result.compiled);
    if (reason !== null) throw new Error(`the checker of ${module} is not loaded: ${reason}`);
    const driver = await driverOf(checker);
    return this.#device.openHostCall({ program: checker, driver, deadlineMilliseconds: callDeadline });
  }

  async #compile(module: string, source: Uint8Array): Promise<CompileResult> {
    // Malformed modules are passed unchanged, because the compiler must reject them.
    const isValid = WebAssembly.validate(new Uint8Array(source));
    const renamed = isValid ? renameImports(source, (name) => this.#deviceName(name)) : source;
    const { result } = await compile({ kind: 'module', module, version: '1.0.0', language: 'wasm', source: renamed });
    return result;
  }

  #deviceName(name: string): string {
    const loaded = this.#registered.get(name);
    if (loaded?.ok === true) return loaded.module;
    return name.replaceAll(/[^a-z0-9]/gi, '-').toLowerCase();
  }

  /** Loads an image. Returns the reason if it is not installed, or null. */
  async #load(compiled: CompiledImage): Promise<string | null> {
    const report = await this.#device.load({ image: imageOf(compiled) });
    return report.outcome === 'installed' ? null : `${report.outcome}: ${'reason' in report ? report.reason : ''}`;
  }

  /** @param allowed The allowed lists of results; null: any. */
  async #return(action: Action, allowed: readonly (readonly Value[])[] | null): Promise<Verdict> {
    const call = await this.#invoke(action);
    if (call.kind === 'verdict') return call.verdict;
    if (call.kind === 'failed') return this.#withoutRefused(action, failed(call.message));
    const { results } = call;
    const isRight = (expected: readonly Value[]) =>
      results.length === expected.length && expected.every((value, index) => matches(results[index] ?? 0n, value));
    if (allowed === null || allowed.some(isRight)) return passed;
    if (isGrowthPastLimit(action.field, results)) return refused(memoryGrowth);
    return this.#withoutRefused(
      action,
      failed(`${action.field} returned ${results.map(printBits).join(', ')}; expected ${JSON.stringify(allowed)}`),
    );
  }

  /** Returns a refusal instead of a failure if a refused module would have written to the called module's memory or table. */
  #withoutRefused({ module }: Action, failure: Verdict): Verdict {
    const target = this.#find(module);
    const feature = target.ok ? this.#unchanged.get(target.module) : undefined;
    return feature === undefined ? failure : refused(feature);
  }

  #noteUnchanged(source: Uint8Array, verdict: Verdict): void {
    if (verdict.kind !== 'refused') return;
    for (const module of importedModules(source)) this.#unchanged.set(this.#deviceName(module), verdict.feature);
  }

  async #trap(action: Action, text: string): Promise<Verdict> {
    const call = await this.#invoke(action);
    if (call.kind === 'verdict') return call.verdict;
    if (call.kind === 'returned') return failed(`${action.field} returned; expected a trap: ${text}`);
    return isTrap(call.message, text) ? passed : failed(`${action.field} trapped: ${call.message}; expected ${text}`);
  }

  async #invoke({ type, module, field, args }: Action): Promise<Call> {
    const target = this.#find(module);
    if (!target.ok) return { kind: 'verdict', verdict: target.verdict };
    if (type === 'get') return { kind: 'verdict', verdict: refused(exportedGlobals) };
    const index = target.indices.get(field);
    const called = target.compiled.interface.exports.find(({ name }) => name === field);
    if (called === undefined) return { kind: 'verdict', verdict: failed(`the export ${field} does not exist`) };
    if (index === undefined || !args.every(isNumber)) return { kind: 'verdict', verdict: refused(references) };
    const call = (operation: number, at: number, value: bigint) => target.checker.call(operation, at, value);
    try {
      for (const [place, value] of args.entries()) {
        const bits = bitsOf(value) ?? 0n;
        await call(checkerOperation.write, wordsOfValue * place, BigInt.asIntN(64, bits));
        await call(checkerOperation.write, wordsOfValue * place + 1, BigInt.asIntN(64, bits >> 64n));
      }
      await call(checkerOperation.invoke, index, 0n);
      const results: bigint[] = [];
      for (const [place, result] of called.results.entries()) {
        const low = wordOf(await call(checkerOperation.read, firstResult + wordsOfValue * place, 0n));
        const high = wordOf(await call(checkerOperation.read, firstResult + wordsOfValue * place + 1, 0n));
        results.push(BigInt.asUintN(widths[result] ?? 0, low | (high << 64n)));
      }
      return { kind: 'returned', results };
    } catch (error) {
      if (error instanceof CallError) return { kind: 'failed', message: error.message };
      throw error;
    }
  }

  async #invalid(filename: string): Promise<Verdict> {
    const source = await readFile(join(this.#folder, filename));
    const isText = filename.endsWith('.wat');
    const result = isText
      ? (await compile({ kind: 'module', module: 'invalid', version: '1.0.0', language: 'wat', source: source.toString() })).result
      : await this.#compile('invalid', source);
    return result.ok ? failed(`${filename} is accepted`) : passed;
  }

  async #unusable(filename: string): Promise<Verdict> {
    const source = await readFile(join(this.#folder, filename));
    const result = await this.#compile(`unusable-${this.#modules}`, source);
    this.#modules += 1;
    if (!result.ok) {
      const verdict = verdictOf(result);
      this.#noteUnchanged(source, verdict);
      return verdict.kind === 'refused' ? verdict : passed;
    }
    return (await this.#load(result.compiled)) === null ? failed(`${filename} is installed`) : passed;
  }
}

type Call =
  | { readonly kind: 'returned'; readonly results: readonly bigint[] }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'verdict'; readonly verdict: Verdict };

const widths: Readonly<Record<string, number>> = { i32: 32, i64: 64, f32: 32, f64: 64, v128: 128 };

const wordOf = (value: WebAssembly.Results): bigint => (typeof value === 'bigint' ? BigInt.asUintN(64, value) : 0n);

function verdictOf(result: Extract<CompileResult, { ok: false }>): Verdict {
  const feature = featureOf(result.diagnostics);
  return feature === null ? failed(`not accepted: ${result.diagnostics.map(({ message }) => message).join('; ')}`) : refused(feature);
}

const imageOf = (compiled: CompiledImage): VerifiedImage => readVerified(compiled.image, compiled.digest);

/** Cached drivers of checkers, which have the same names in all scripts. */
const drivers = new Map<string, VerifiedImage>();

async function driverOf(checker: string): Promise<VerifiedImage> {
  const known = drivers.get(checker);
  if (known !== undefined) return known;
  const { result } = await compile({ kind: 'driver', module: checker, export: checkerExport, type: checkerType, addressing: 'via-table' });
  if (!result.ok) throw new Error(`the driver of ${checker} is not accepted: ${JSON.stringify(result.diagnostics)}`);
  const driver = imageOf(result.compiled);
  drivers.set(checker, driver);
  return driver;
}
