// The exports of a WebAssembly instance, as the machine calls them.

/**
 * Returns an instance's exported function of that name.
 * @throws {Error} when the instance exports none.
 */
export function getExportedFunction(exports: WebAssembly.Instance['exports'], name: string): WebAssembly.ExportedFunction {
  const exported = exports[name];
  if (!isFunction(exported)) throw new Error(`the instance exports no function "${name}"`);
  return exported;
}

function isFunction(value: unknown): value is WebAssembly.ExportedFunction {
  return typeof value === 'function';
}
