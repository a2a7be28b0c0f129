// The part of the WebAssembly JavaScript API that is used here, with JavaScript Promise Integration and exceptions; Node's types omit it.

declare namespace WebAssembly {
  type ImportValue = number | bigint | Memory | Table | Global | Tag | ((...values: never[]) => unknown) | Suspending;
  type Imports = Readonly<Record<string, Readonly<Record<string, ImportValue>>>>;
  /** Results of an exported function whose types are numbers. */
  type Results = number | bigint | readonly (number | bigint)[] | undefined;
  type ExportedFunction = (...values: readonly (number | bigint)[]) => unknown;

  /** In binary order. */
  type ModuleImportDescriptor = ModuleExportDescriptor & { readonly module: string };
  type ModuleExportDescriptor = { readonly name: string; readonly kind: 'function' | 'table' | 'memory' | 'global' | 'tag' };

  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
    static customSections(module: Module, name: string): ArrayBuffer[];
    static imports(module: Module): ModuleImportDescriptor[];
    static exports(module: Module): ModuleExportDescriptor[];
  }
  class Instance {
    constructor(module: Module, imports: Imports);
    readonly exports: Readonly<Record<string, unknown>>;
  }
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum: number });
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  class Table {
    constructor(descriptor: { readonly element: 'anyfunc'; readonly initial: number; readonly maximum?: number });
    readonly length: number;
    get(index: number): ExportedFunction | null;
    set(index: number, value: ExportedFunction | null): void;
    grow(by: number): number;
  }
  class Global {
    constructor(descriptor: { readonly value: 'i32'; readonly mutable: boolean }, value: number);
    value: number;
  }
  class Tag {
    constructor(type: { readonly parameters: readonly string[] });
  }
  class Exception extends Error {
    constructor(tag: Tag, payload: readonly number[]);
    is(tag: Tag): boolean;
  }
  class RuntimeError extends Error {}
  class CompileError extends Error {}
  class LinkError extends Error {}
  /** Thrown when code that was not called through `promising` tries to suspend. */
  class SuspendError extends Error {}
  /** An import that suspends its caller's stack until the promise settles. */
  class Suspending {
    constructor(handler: (...values: never[]) => Promise<void>);
  }
  /** Compiles on background threads of the process. */
  function compile(bytes: Uint8Array<ArrayBuffer>): Promise<Module>;
  /** Returns whether the bytes are a valid module. */
  function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  /** Wraps an export: each call runs on its own stack and returns a promise. */
  function promising(exported: ExportedFunction): (...values: readonly (number | bigint)[]) => Promise<Results>;
}
