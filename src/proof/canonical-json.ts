// The JSON Canonicalization Scheme (RFC 8785): the unique text of a JSON value, which is hashed and signed.

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
/** Undefined members are omitted. */
export type JsonObject = { readonly [name: string]: Json | undefined };

/**
 * Returns the canonical text of a value: no white space, members sorted by name (UTF-16 code units), numbers as in ECMAScript.
 * @throws {TypeError} if JSON cannot represent the value: a number is not finite, or a string has an unpaired surrogate.
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`expected a finite number, received ${value}`);
    return JSON.stringify(value);
  }
  if (value === null || typeof value === 'boolean') return String(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  let members = '';
  // `sort` without a comparison function compares UTF-16 code units.
  for (const name of Object.keys(value).sort()) {
    const member = value[name];
    if (member !== undefined) members += `${members === '' ? '' : ','}${quote(name)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

function quote(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('expected a well-formed string, received an unpaired surrogate');
  return JSON.stringify(text);
}

/** Returns whether a value is an array. `Array.isArray` does not narrow to readonly arrays. */
export const isList = (value: Json): value is readonly Json[] => Array.isArray(value);
