// The part of the WebAssembly JavaScript interface that is used here, with JavaScript Promise Integration and exceptions; the types of Node leave it out.

declare namespace WebAssembly {
  type ImportValue = number | bigint | Memory | Table | Global | Tag | ((...values: never[]) => unknown) | Suspending;
  type Imports = Readonly<Record<string, Readonly<Record<string, ImportValue>>>>;
  /** What a function of numbers returns to JavaScript. */
  type Results = number | bigint | readonly (number | bigint)[] | undefined;
  type ExportedFunction = (...values: readonly (number | bigint)[]) => unknown;

  /** In the order of the binary. */
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
  /** Code that was not called on a stack of its own was to be suspended. */
  class SuspendError extends Error {}
  /** An import that suspends the stack of its caller until the promise settles. */
  class Suspending {
    constructor(handler: (...values: never[]) => Promise<void>);
  }
  /** Compiles on other threads of the process. */
  function compile(bytes: Uint8Array<ArrayBuffer>): Promise<Module>;
  /** Whether the engine accepts the bytes as a module. */
  function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
  /** An export that runs on a stack of its own and answers with a promise. */
  function promising(exported: ExportedFunction): (...values: readonly (number | bigint)[]) => Promise<Results>;
}
