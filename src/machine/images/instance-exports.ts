// Typed access to the exports of a WebAssembly instance.

/**
 * Returns an instance's exported function.
 * @throws {Error} if the instance has no exported function of that name.
 */
export function getExportedFunction(exports: WebAssembly.Instance['exports'], name: string): WebAssembly.ExportedFunction {
  const exported = exports[name];
  if (!isFunction(exported)) throw new Error(`the instance has no exported function "${name}"`);
  return exported;
}

function isFunction(value: unknown): value is WebAssembly.ExportedFunction {
  return typeof value === 'function';
}
