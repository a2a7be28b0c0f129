// The one text of a JSON value, of which digests and signatures are made: the JSON Canonicalization Scheme (RFC 8785).

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
/** A member that is undefined is none. */
export type JsonObject = { readonly [name: string]: Json | undefined };

/**
 * The value without white space, its objects' members in the order of their names (by UTF-16 code units), its numbers as ECMAScript writes them.
 * @throws {TypeError} for what JSON cannot say: a number that is not finite, or a text with half a surrogate pair.
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} is no number of JSON`);
    return JSON.stringify(value);
  }
  if (value === null || typeof value === 'boolean') return String(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  let members = '';
  // Without a comparison of its own, `sort` goes by UTF-16 code units.
  for (const name of Object.keys(value).sort()) {
    const member = value[name];
    if (member !== undefined) members += `${members === '' ? '' : ','}${quoted(name)}:${canonicalJson(member)}`;
  }
  return `{${members}}`;
}

function quoted(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('a text with half a surrogate pair is none of JSON');
  return JSON.stringify(text);
}

/** Whether a value is an array, which `Array.isArray` says only of arrays that may be changed. */
export const isList = (value: Json): value is readonly Json[] => Array.isArray(value);
