// Requirements of client generators on openapi/openapi.json.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const document: unknown = JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8'));

/** Every object in the document, with its JSON pointer. */
function* objectsIn(value: unknown, pointer = ''): Generator<readonly [string, Readonly<Record<string, unknown>>]> {
  if (typeof value !== 'object' || value === null) return;
  const members = Object.fromEntries(Object.entries(value));
  if (!Array.isArray(value)) yield [pointer, members];
  for (const [name, member] of Object.entries(members)) yield* objectsIn(member, `${pointer}/${name}`);
}

// oapi-codegen and others read a discriminator's value from `enum` only.
test('every string constant of a schema is also an enumeration with one value', () => {
  const constants = [...objectsIn(document)].filter(([, schema]) => schema['type'] === 'string' && 'const' in schema);
  expect(constants.length).toBeGreaterThan(10);
  for (const [pointer, schema] of constants) expect(schema['enum'], pointer).toEqual([schema['const']]);
});

// The HTML standard defines the header as text; clients send back what they have received.
test('Last-Event-ID is a string', () => {
  const parameters = [...objectsIn(document)].filter(
    ([, { name, in: place }]) => place === 'header' && /^last-event-id$/i.test(String(name)),
  );
  expect(parameters.length).toBeGreaterThan(0);
  for (const [pointer, { schema }] of parameters) expect(schema, pointer).toMatchObject({ type: 'string' });
});
