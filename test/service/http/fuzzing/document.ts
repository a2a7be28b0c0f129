// Parses the OpenAPI document for tests: operations, parameters, bodies and responses.

import { readFileSync } from 'node:fs';
import { z } from 'zod';

const Schema = z.record(z.string(), z.unknown());
export type Schema = z.infer<typeof Schema>;

/** Examples of a parameter or a body, next to its schema. */
const examples = { example: z.unknown().optional(), examples: z.record(z.string(), z.object({ value: z.unknown() })).optional() };
const Media = z.object({ schema: Schema, ...examples });
const Content = z.record(z.string(), Media);
const Parameter = z.object({
  name: z.string(),
  in: z.enum(['path', 'query', 'header']),
  required: z.boolean().default(false),
  schema: Schema,
  ...examples,
});
const OperationObject = z.object({
  operationId: z.string(),
  security: z.array(z.record(z.string(), z.array(z.string()))),
  parameters: z.array(Parameter).default([]),
  requestBody: z.object({ content: Content, required: z.boolean() }).optional(),
  responses: z.record(z.string(), z.object({ content: Content.optional() })),
});
const DocumentObject = z.object({
  paths: z.record(z.string(), z.record(z.string(), OperationObject)),
  components: z.object({ schemas: z.record(z.string(), Schema) }),
});

export type Parameter = z.infer<typeof Parameter>;
export type Operation = z.infer<typeof OperationObject> & { readonly path: string; readonly method: string };

/** The document in the repository. */
export const documentText = readFileSync(new URL('../../../../openapi/openapi.json', import.meta.url), 'utf8');
const document = DocumentObject.parse(JSON.parse(documentText));

export const operations: readonly Operation[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })),
);

/** Resolves a reference to a schema. */
export function resolved(schema: Schema): Schema {
  const reference = schema['$ref'];
  if (typeof reference !== 'string') return schema;
  const found = document.components.schemas[reference.replace('#/components/schemas/', '')];
  if (found === undefined) throw new Error(`the document has no ${reference}`);
  return resolved(found);
}

/** Returns the examples of a parameter or a body, or of its schema. */
export function examplesOf({ schema, example, examples: named = {} }: z.infer<typeof Media>): unknown[] {
  const { examples: ofSchema } = resolved(schema);
  return [
    ...(example === undefined ? [] : [example]),
    ...Object.values(named).map(({ value }) => value),
    ...(Array.isArray(ofSchema) ? ofSchema : []),
  ];
}

type JsonSchema = Exclude<Parameters<typeof z.fromJSONSchema>[0], boolean>;

/** Rewrites references of the document for a standalone schema. */
function standalone(value: unknown): string {
  return JSON.stringify(value).replaceAll('#/components/schemas/', '#/$defs/');
}

const definitions: Record<string, JsonSchema> = JSON.parse(standalone(document.components.schemas));

const validators = new Map<string, z.ZodType>();

/** Returns a function that validates values against a schema. */
export function validatorOf(schema: Schema): z.ZodType {
  const key = standalone(schema);
  const known = validators.get(key);
  if (known !== undefined) return known;
  const alone: JsonSchema = JSON.parse(key);
  const validator = z.fromJSONSchema({ ...alone, $defs: definitions });
  validators.set(key, validator);
  return validator;
}

/** Returns the schema of a response body; null if the response is not documented. */
export function documentedBody(operation: Operation, status: number, contentType: string): z.ZodType | 'no body' | null {
  const response = operation.responses[String(status)];
  if (response === undefined) return null;
  if (response.content === undefined) return 'no body';
  const [, content] = Object.entries(response.content).find(([type]) => type.split(';')[0] === contentType) ?? [];
  return content === undefined ? null : validatorOf(content.schema);
}
