// Generates values for a JSON schema: valid, nearly valid and hostile.

import fc from 'fast-check';
import { resolved, type Schema } from './document.ts';

/** Strings that are known to break services. */
const hostileTexts = [
  '',
  ' ',
  '\0',
  '../../etc/passwd',
  '\'; DROP TABLE "Device"; --',
  '%00',
  '%',
  '\u202E\uFEFF',
  '😀'.repeat(30),
  '1e309',
  '-0',
  'null',
  '__proto__',
  'constructor',
  'a'.repeat(1_000),
  '{{7*7}}',
  '\r\nX-Injected: 1',
];

const hostileText = fc.oneof(fc.constantFrom(...hostileTexts), fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ maxLength: 200 }));

const propertyName = fc.stringMatching(/^[a-z]{1,8}$/);

/** Any JSON value. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, 0, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, [], {}, [[]], { __proto__: null }, Array(300).fill(0)),
);

/** Values that refer to existing objects, by the name of the property or parameter. */
export type Known = ReadonlyMap<string, readonly unknown[]>;

/** Generates values that the schema allows; for known names mostly known values. */
export function validValue(schemaOrReference: Schema, name: string, known: Known, depth = 0): fc.Arbitrary<unknown> {
  const type = resolved(schemaOrReference)['type'];
  return mostlyKnown(
    ofType(resolved(schemaOrReference), name, known, depth),
    known.get(name),
    (value) => type === undefined || isOfType(value, type),
  );
}

/** Generates mostly those known values that fit. */
function mostlyKnown(
  otherwise: fc.Arbitrary<unknown>,
  values: readonly unknown[] = [],
  fits: (value: unknown) => boolean,
): fc.Arbitrary<unknown> {
  const fitting = values.filter(fits);
  return fitting.length === 0
    ? otherwise
    : fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...fitting) }, { weight: 1, arbitrary: otherwise });
}

const typeOf = (value: unknown) => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);

/** Checks a value against the type of a JSON schema: one name may be an id in a path, and an object in a body. */
const isOfType = (value: unknown, type: unknown) => typeOf(value) === (type === 'integer' ? 'number' : type);

function ofType(schema: Schema, name: string, known: Known, depth: number): fc.Arbitrary<unknown> {
  const variants = [schema['anyOf'], schema['oneOf']].find(Array.isArray);
  if (variants !== undefined) return fc.oneof(...variants.map((variant) => validValue(variant, name, known, depth + 1)));
  if ('const' in schema) return fc.constant(schema['const']);
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...schema['enum']);
  switch (schema['type']) {
    case 'string':
      return textOf(schema);
    case 'integer':
    case 'number':
      return numberOf(schema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array': {
      const items = isSchema(schema['items']) ? validValue(schema['items'], singular(name), known, depth + 1) : hostileValue;
      return fc.array(items, { minLength: numberIn(schema, 'minItems', 0), maxLength: depth > 4 ? 1 : 3 });
    }
    case 'object':
      return objectOf(schema, known, depth);
    default:
      return hostileValue;
  }
}

/** Generators of strings by what they depend on: fast-check takes milliseconds to create one. */
const texts = new Map<string, fc.Arbitrary<string>>();

function textOf(schema: Schema): fc.Arbitrary<string> {
  const { pattern, format, minLength, maxLength } = schema;
  const key = JSON.stringify([pattern, format, minLength, maxLength]);
  const text = texts.get(key) ?? createText(schema);
  texts.set(key, text);
  return text;
}

function createText(schema: Schema): fc.Arbitrary<string> {
  const { pattern, format } = schema;
  if (format === 'date-time')
    return fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') }).map((date) => date.toISOString());
  if (typeof pattern === 'string')
    return fc.stringMatching(new RegExp(pattern)).map((text) => text.slice(0, numberIn(schema, 'maxLength', 200)));
  const longest = numberIn(schema, 'maxLength', 60);
  return fc.oneof(
    { weight: 9, arbitrary: fc.string({ minLength: numberIn(schema, 'minLength', 0), maxLength: Math.min(longest, 300) }) },
    { weight: 1, arbitrary: fc.constant('x'.repeat(Math.min(longest, 5_000))) },
  );
}

function numberOf(schema: Schema): fc.Arbitrary<number> {
  const least = numberIn(schema, 'minimum', numberIn(schema, 'exclusiveMinimum', -1) + 1);
  const most = numberIn(schema, 'maximum', least + 1_000);
  // By default, every safe integer is allowed.
  const greatest = numberIn(schema, 'maximum', Number.MAX_SAFE_INTEGER);
  return fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: least, max: Math.max(least, Math.min(most, least + 3)) }) },
    { weight: 4, arbitrary: fc.integer({ min: least, max: Math.max(least, most) }) },
    { weight: 1, arbitrary: fc.constant(greatest) },
  );
}

function objectOf(schema: Schema, known: Known, depth: number): fc.Arbitrary<unknown> {
  const { properties, required, additionalProperties } = schema;
  if (!isSchema(properties)) {
    const values = isSchema(additionalProperties) ? validValue(additionalProperties, '', known, depth + 1) : hostileValue;
    return fc.dictionary(propertyName, values, { maxKeys: 3 });
  }
  const arbitraries = Object.entries(properties).flatMap(([name, property]) =>
    isSchema(property) ? [[name, validValue(property, name, known, depth + 1)] as const] : [],
  );
  const requiredKeys = Array.isArray(required) ? required.filter((key): key is string => typeof key === 'string') : [];
  return fc.record(Object.fromEntries(arbitraries), { requiredKeys });
}

/** Generates variants of an example with known values: examples combine properties that random values rarely combine. */
export function likeExample(example: unknown, name: string, known: Known): fc.Arbitrary<unknown> {
  return mostlyKnown(ofExample(example, name, known), known.get(name), (value) => typeOf(value) === typeOf(example));
}

function ofExample(example: unknown, name: string, known: Known): fc.Arbitrary<unknown> {
  if (Array.isArray(example)) return fc.tuple(...example.map((item) => likeExample(item, singular(name), known)));
  if (typeof example !== 'object' || example === null) return fc.constant(example);
  return fc.record(Object.fromEntries(Object.entries(example).map(([key, value]) => [key, likeExample(value, key, known)])));
}

/** Changes one thing in a value: removes, replaces, adds or repeats it. */
export function nearly(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const change = fc.record({
    at: fc.array(fc.nat(20), { maxLength: 4 }),
    kind: fc.constantFrom('drop', 'replace', 'add', 'repeat'),
    by: hostileValue,
  });
  return fc.tuple(value, change).map(([one, { at, kind, by }]) => changed(one, at, kind, by));
}

function changed(value: unknown, [index, ...at]: readonly number[], kind: string, by: unknown): unknown {
  if (index === undefined || typeof value !== 'object' || value === null) return kind === 'drop' ? undefined : by;
  const entries: [string, unknown][] = Object.entries(value);
  const chosen = entries[index % Math.max(entries.length, 1)];
  if (kind === 'add' || chosen === undefined) entries.push([typeof by === 'string' ? by : 'unknown', by]);
  else if (at.length > 0) chosen[1] = changed(chosen[1], at, kind, by);
  else if (kind === 'drop') entries.splice(entries.indexOf(chosen), 1);
  else chosen[1] = kind === 'repeat' ? [chosen[1], chosen[1]] : by;
  return Array.isArray(value) ? entries.map(([, item]) => item) : Object.fromEntries(entries);
}

function numberIn(schema: Schema, key: string, otherwise: number): number {
  const value = schema[key];
  return typeof value === 'number' ? value : otherwise;
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const singular = (name: string) => name.replace(/s$/, '');
