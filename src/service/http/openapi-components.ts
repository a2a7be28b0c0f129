// Prepares the components of the generated document for client generators: one schema per type, named as in the code, with discriminators for unions.

type Json = string | number | boolean | null | Json[] | JsonObject;
type JsonObject = { [key: string]: Json };

const prefix = '#/components/schemas/';
const suffix = 'Input';

/** Merges the request (`…Input`) and response variants of equal schemas, and removes unreferenced schemas. */
export function tidyComponents(document: JsonObject): JsonObject {
  const open = mapSchemas(document, (schema) => withEnumOfConstant(withoutNoise(withoutClosedness(schema))));
  const schemas = schemasOf(open);
  const reachable = reachableFrom(open['paths'] ?? null, schemas);
  const names = new Map<string, string>();
  for (const name of reachable) names.set(name, finalName(name, reachable, schemas));
  const renamed = rename(open, names);
  const kept: JsonObject = {};
  for (const [name, schema] of Object.entries(schemasOf(renamed)).toSorted(([left], [right]) => (left < right ? -1 : 1)))
    if (reachable.has(name)) kept[names.get(name) ?? name] = schema;
  const components = isObject(renamed['components']) ? renamed['components'] : {};
  const tidied: JsonObject = { ...renamed, components: { ...components, schemas: kept } };
  return mapSchemas(tidied, (schema) => withDiscriminator(schema, kept));
}

/** Removes `additionalProperties: false`: clients must accept new properties in responses. The service itself rejects unknown request properties. */
function withoutClosedness(schema: JsonObject): JsonObject {
  const { additionalProperties, ...rest } = schema;
  return additionalProperties === undefined || additionalProperties === false ? rest : { additionalProperties, ...rest };
}

/**
 * Wraps each `$ref` that has siblings in an `anyOf` of one, because the document generator drops the siblings of a reference. `tidyComponents` unwraps
 * them.
 */
export function wrapDescribedReferences(parameters: JsonObject): JsonObject {
  return mapSchemas(parameters, (schema) => {
    const { $ref, ...others } = schema;
    return $ref === undefined || Object.keys(others).length === 0 ? schema : { ...others, anyOf: [{ $ref }] };
  });
}

/** Adds an `enum` of one value beside a `const`, for generators that do not support `const`. */
function withEnumOfConstant(schema: JsonObject): JsonObject {
  const { const: constant, ...others } = schema;
  return typeof constant === 'string' && typeof others['type'] === 'string' ? { ...others, enum: [constant], const: constant } : schema;
}

/** Removes redundant keywords: an `anyOf` of one, the safe-integer bounds, and the pattern of a `date-time`. */
function withoutNoise(schema: JsonObject): JsonObject {
  const { anyOf, ...others } = schema;
  const [only, ...more] = Array.isArray(anyOf) ? anyOf : [];
  const plain = isObject(only) && more.length === 0 ? { ...only, ...others } : schema;
  return Object.fromEntries(
    Object.entries(plain).filter(
      ([key, value]) =>
        !(key === 'minimum' && value === Number.MIN_SAFE_INTEGER) &&
        !(key === 'maximum' && value === Number.MAX_SAFE_INTEGER) &&
        !(key === 'pattern' && plain['format'] === 'date-time'),
    ),
  );
}

function finalName(name: string, reachable: ReadonlySet<string>, schemas: JsonObject): string {
  if (!name.endsWith(suffix)) return name;
  const base = name.slice(0, -suffix.length);
  const isSame = JSON.stringify(schemas[base]) === JSON.stringify(schemas[name]).replaceAll(`${suffix}"`, '"');
  return !reachable.has(base) || isSame ? base : name;
}

function reachableFrom(start: Json, schemas: JsonObject): Set<string> {
  const reached = new Set<string>();
  const pending = [start];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    for (const name of referencesIn(value)) {
      if (reached.has(name)) continue;
      reached.add(name);
      pending.push(schemas[name] ?? null);
    }
  }
  return reached;
}

function referencesIn(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(referencesIn);
  if (!isObject(value)) return [];
  const reference = value['$ref'];
  const own = typeof reference === 'string' && reference.startsWith(prefix) ? [reference.slice(prefix.length)] : [];
  return [...own, ...Object.values(value).flatMap(referencesIn)];
}

function rename(value: JsonObject, names: ReadonlyMap<string, string>): JsonObject {
  return mapSchemas(value, (schema) => {
    const reference = schema['$ref'];
    if (typeof reference !== 'string' || !reference.startsWith(prefix)) return schema;
    const name = reference.slice(prefix.length);
    return { ...schema, $ref: `${prefix}${names.get(name) ?? name}` };
  });
}

/** Adds a discriminator to a `oneOf` whose schemas each have a different constant in the same property. */
function withDiscriminator(schema: JsonObject, schemas: JsonObject): JsonObject {
  const { oneOf } = schema;
  if (!Array.isArray(oneOf) || oneOf.length < 2) return schema;
  const kinds = oneOf.map((one) => {
    const [name] = referencesIn(one);
    const properties = name === undefined ? undefined : schemas[name];
    return { name, properties: isObject(properties) && isObject(properties['properties']) ? properties['properties'] : {} };
  });
  const [first] = kinds;
  const propertyName = Object.keys(first?.properties ?? {}).find(
    (key) => new Set(kinds.map(({ properties }) => constantOf(properties[key]))).size === kinds.length,
  );
  if (propertyName === undefined || kinds.some(({ properties }) => constantOf(properties[propertyName]) === null)) return schema;
  const mapping = Object.fromEntries(kinds.map(({ name, properties }) => [constantOf(properties[propertyName]) ?? '', `${prefix}${name}`]));
  return { ...schema, discriminator: { propertyName, mapping } };
}

function constantOf(schema: Json | undefined): string | null {
  const constant = isObject(schema) ? schema['const'] : undefined;
  return typeof constant === 'string' ? constant : null;
}

function mapSchemas(value: JsonObject, change: (schema: JsonObject) => JsonObject): JsonObject {
  const map = (inner: Json): Json => {
    if (Array.isArray(inner)) return inner.map(map);
    return isObject(inner) ? change(Object.fromEntries(Object.entries(inner).map(([key, one]) => [key, map(one)]))) : inner;
  };
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, map(one)]));
}

function schemasOf(document: JsonObject): JsonObject {
  const components = document['components'];
  const schemas = isObject(components) ? components['schemas'] : undefined;
  return isObject(schemas) ? schemas : {};
}

/** Returns whether a value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the document as plain JSON, without undefined members. */
export function toJson(document: object): JsonObject {
  const parsed: JsonObject = JSON.parse(JSON.stringify(document));
  return parsed;
}

/** Adds what the route schemas cannot express: binary request bodies, and the `Idempotency-Key` header of each POST under /v1. */
export function describeRequests(document: JsonObject): JsonObject {
  const paths = isObject(document['paths']) ? document['paths'] : {};
  const described = Object.fromEntries(
    Object.entries(paths).map(([path, item]) => {
      if (!isObject(item)) return [path, item];
      const whole = path.startsWith('/v1/') ? describePost(item) : item;
      const describe = (operation: Json) => withOptionalBody(withParametersInOrder(operation), document);
      return [path, Object.fromEntries(Object.entries(whole).map(([method, operation]) => [method, describe(operation)]))];
    }),
  );
  return { ...document, paths: described };
}

const idempotencyKey: JsonObject = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description: 'Repeating a request with the same key within 24 hours returns the first response and does not execute the request again.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
  example: '0d3a5c1e-2b4f-4f6a-9c8d-7e6f5a4b3c2d',
};

const places: readonly Json[] = ['path', 'query', 'header'];

/** Sorts path parameters first: generated functions take parameters in the order of the document. */
function withParametersInOrder(operation: Json): Json {
  if (!isObject(operation) || !Array.isArray(operation['parameters'])) return operation;
  const placeOf = (parameter: Json) => (isObject(parameter) ? places.indexOf(parameter['in'] ?? null) : -1);
  return { ...operation, parameters: operation['parameters'].toSorted((left, right) => placeOf(left) - placeOf(right)) };
}

/** Marks a JSON body as optional if it may have no member: the service reads an absent body as `{}`. */
function withOptionalBody(operation: Json, document: JsonObject): Json {
  if (!isObject(operation) || !isObject(operation['requestBody'])) return operation;
  const schema = resolved(memberOf(operation['requestBody'], 'content', 'application/json', 'schema'), document);
  if (!isObject(schema) || schema['type'] !== 'object') return operation;
  if (schema['required'] !== undefined || schema['minProperties'] !== undefined) return operation;
  return { ...operation, requestBody: { ...operation['requestBody'], required: false } };
}

/** Resolves a reference to a component; returns any other schema unchanged. */
function resolved(schema: Json, document: JsonObject): Json {
  const reference = isObject(schema) ? schema['$ref'] : null;
  return typeof reference === 'string' ? memberOf(document, ...reference.split('/').slice(1)) : schema;
}

function memberOf(value: Json, ...names: readonly string[]): Json {
  return names.reduce<Json>((inner, name) => (isObject(inner) ? (inner[name] ?? null) : null), value);
}

function describePost(item: JsonObject): JsonObject {
  const { post } = item;
  if (!isObject(post)) return item;
  const parameters = [...(Array.isArray(post['parameters']) ? post['parameters'] : []), idempotencyKey];
  const body = post['requestBody'];
  if (post['operationId'] !== 'createBuild' || !isObject(body) || !isObject(body['content']))
    return { ...item, post: { ...post, parameters } };
  const bytes: JsonObject = { schema: { type: 'string', format: 'binary', description: 'A prebuilt WebAssembly module.' } };
  const requestBody = { ...body, content: { ...body['content'], 'application/wasm': bytes } };
  return { ...item, post: { ...post, parameters, requestBody } };
}
