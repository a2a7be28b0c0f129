// The OpenAPI document as a test reads it: every operation, what it takes, and what it may answer.

import { readFileSync } from 'node:fs';
import { z } from 'zod';

const Schema = z.record(z.string(), z.unknown());
export type Schema = z.infer<typeof Schema>;

const Content = z.record(z.string(), z.object({ schema: Schema }));
const Parameter = z.object({
  name: z.string(),
  in: z.enum(['path', 'query', 'header']),
  required: z.boolean().default(false),
  schema: Schema,
});
const OperationObject = z.object({
  operationId: z.string(),
  parameters: z.array(Parameter).default([]),
  requestBody: z.object({ content: Content }).optional(),
  responses: z.record(z.string(), z.object({ content: Content.optional() })),
});
const DocumentObject = z.object({
  paths: z.record(z.string(), z.record(z.string(), OperationObject)),
  components: z.object({ schemas: z.record(z.string(), Schema) }),
});

export type Parameter = z.infer<typeof Parameter>;
export type Operation = z.infer<typeof OperationObject> & { readonly path: string; readonly method: string };

const document = DocumentObject.parse(JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8')));

export const operations: readonly Operation[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ ...operation, path, method: method.toUpperCase() })),
);

/** The schema itself where it is a reference to one. */
export function resolved(schema: Schema): Schema {
  const reference = schema['$ref'];
  if (typeof reference !== 'string') return schema;
  const found = document.components.schemas[reference.replace('#/components/schemas/', '')];
  if (found === undefined) throw new Error(`the document has no ${reference}`);
  return resolved(found);
}

type JsonSchema = Exclude<Parameters<typeof z.fromJSONSchema>[0], boolean>;

/** References of a document are not those of a schema that stands alone. */
function standalone(value: unknown): string {
  return JSON.stringify(value).replaceAll('#/components/schemas/', '#/$defs/');
}

const definitions: Record<string, JsonSchema> = JSON.parse(standalone(document.components.schemas));

const validators = new Map<string, z.ZodType>();

/** What the document says of the body of an answer; null where it does not know the answer at all. */
export function documentedBody(operation: Operation, status: number, contentType: string): z.ZodType | 'no body' | null {
  const response = operation.responses[String(status)];
  if (response === undefined) return null;
  if (response.content === undefined) return 'no body';
  const [, content] = Object.entries(response.content).find(([type]) => type.split(';')[0] === contentType) ?? [];
  const schema = content?.schema;
  if (schema === undefined) return null;
  const key = `${operation.operationId} ${status} ${contentType}`;
  const known = validators.get(key);
  if (known !== undefined) return known;
  const alone: JsonSchema = JSON.parse(standalone(schema));
  const validator = z.fromJSONSchema({ ...alone, $defs: definitions });
  validators.set(key, validator);
  return validator;
}
