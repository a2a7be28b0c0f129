// Comparison and notation of function types.

/** A function type, as the names of its value types. */
export type TypeNames = { readonly parameters: readonly string[]; readonly results: readonly string[] };

/** Returns whether two functions have the same parameters and results. */
export function isSameFunctionType(left: TypeNames, right: TypeNames): boolean {
  return left.parameters.join() === right.parameters.join() && left.results.join() === right.results.join();
}

/** Returns a function type as text, for example `(i32, i64) → i32`. */
export function formatFunctionType({ parameters, results }: TypeNames): string {
  const [result, ...others] = results;
  return `(${parameters.join(', ')}) → ${result !== undefined && others.length === 0 ? result : `(${results.join(', ')})`}`;
}
