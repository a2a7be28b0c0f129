// An image: one compiled version of a module, as bytes that a device can put in its memory.

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | 'funcref' | 'externref';
export type FunctionType = { readonly parameters: readonly ValueType[]; readonly results: readonly ValueType[] };
export type ExportedFunction = FunctionType & { readonly name: string };
export type ImportedFunction = FunctionType & { readonly module: string; readonly name: string };
export type ImageInterface = { readonly exports: readonly ExportedFunction[]; readonly imports: readonly ImportedFunction[] };
