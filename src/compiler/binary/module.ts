// The data model of a WebAssembly module: the contents of its sections. Function bodies are bytes, which are decoded one at a time.

import type { FunctionType, ValueType } from '../../machine/images/stamp.ts';

/** Sizes of a memory (pages of 64 KiB) or a table (elements). */
export type Limits = { readonly initial: number; readonly maximum: number | null };

export type TableType = { readonly element: ValueType; readonly limits: Limits };
export type GlobalType = { readonly value: ValueType; readonly mutable: boolean };

/** An import; `type` is an index into the module's types. */
export type Import = { readonly module: string; readonly name: string } & (
  | { readonly kind: 'function'; readonly type: number }
  | { readonly kind: 'table'; readonly table: TableType }
  | { readonly kind: 'memory'; readonly memory: Limits }
  | { readonly kind: 'global'; readonly global: GlobalType }
  | { readonly kind: 'tag'; readonly type: number }
);

/** Consecutive locals of one type. */
export type LocalRun = { readonly count: number; readonly type: ValueType };

/** A hint for the engine about the branch at an offset in the bytes of a body. */
export type BranchHint = { readonly offset: number; readonly likely: boolean };

export type FunctionBody = {
  /** Index into the module's types. */
  readonly type: number;
  /** The locals after the parameters. */
  readonly locals: readonly LocalRun[];
  /** The instructions, without the final `end`; `decodeInstructions` and `encodeInstructions` of instruction-codec.ts read and write them. */
  readonly body: Uint8Array;
  /** Branch hints, by ascending offset. */
  readonly hints?: readonly BranchHint[];
};

export type ExternalKind = 'function' | 'table' | 'memory' | 'global' | 'tag';
export type Export = { readonly name: string; readonly kind: ExternalKind; readonly index: number };

/** A global with its initial value: a constant expression without the final `end`. */
export type Global = { readonly type: GlobalType; readonly init: Uint8Array };

/** The target of an active segment, which instantiation writes. `offset` is a constant expression without the final `end`. */
export type ActivePlace = { readonly kind: 'active'; readonly index: number; readonly offset: Uint8Array };

export type ElementSegment = {
  /** The index is that of a table. */
  readonly place: ActivePlace | { readonly kind: 'passive' } | { readonly kind: 'declarative' };
  readonly items:
    | { readonly kind: 'functions'; readonly indices: readonly number[] }
    | { readonly kind: 'expressions'; readonly type: ValueType; readonly expressions: readonly Uint8Array[] };
};

export type DataSegment = {
  /** The index is that of a memory. */
  readonly place: ActivePlace | { readonly kind: 'passive' };
  readonly bytes: Uint8Array;
};

type CustomSection = { readonly name: string; readonly content: Uint8Array };

/** A core module. In each index space, imports come first, in order. */
export type Module = {
  readonly types: readonly FunctionType[];
  readonly imports: readonly Import[];
  readonly functions: readonly FunctionBody[];
  readonly tables: readonly TableType[];
  readonly memories: readonly Limits[];
  readonly globals: readonly Global[];
  readonly exports: readonly Export[];
  /** Index of the start function. */
  readonly start: number | null;
  readonly elements: readonly ElementSegment[];
  readonly data: readonly DataSegment[];
  /** Whether the module has a data count section, which `memory.init` and `data.drop` require. */
  readonly hasDataCount: boolean;
  /** Names by function index, as far as the name section is well formed. Not encoded. */
  readonly functionNames: ReadonlyMap<number, string>;
  /** Custom sections, encoded after all other sections. A decoded module has none. */
  readonly customSections: readonly CustomSection[];
};

/** The bytes are not a valid module. The offset is the position of the fault. */
export class MalformedModuleError extends Error {
  override readonly name = 'MalformedModuleError';
  readonly offset: number;

  constructor(reason: string, offset: number) {
    super(`${reason} (at byte ${offset})`);
    this.offset = offset;
  }
}

/** The module uses a WebAssembly feature that devices do not support. */
export class UnsupportedFeatureError extends Error {
  override readonly name = 'UnsupportedFeatureError';
  readonly feature: string;
  readonly offset: number;

  /** @param construct The construct that belongs to the feature, for example `instruction 0xfb00` or `a shared memory`. */
  constructor(feature: string, construct: string, offset: number) {
    super(`the module uses ${feature}, which devices do not support: ${construct} (at byte ${offset})`);
    this.feature = feature;
    this.offset = offset;
  }
}

/** Returns the imports of one kind, by index. */
export function importsOf<Kind extends ExternalKind>(module: Module, kind: Kind): Extract<Import, { readonly kind: Kind }>[] {
  return module.imports.filter((item): item is Extract<Import, { readonly kind: Kind }> => item.kind === kind);
}

/** Returns the type of an imported or own function; undefined if there is no function with that index. */
export function functionTypeOf(module: Module, index: number): FunctionType | undefined {
  const type = typeIndexOf(module, index);
  return type === undefined ? undefined : module.types[type];
}

/** Returns the type index of an imported or own function; undefined if there is no function with that index. */
export function typeIndexOf(module: Module, index: number): number | undefined {
  const imported = importsOf(module, 'function');
  return index < imported.length ? imported[index]?.type : module.functions[index - imported.length]?.type;
}
