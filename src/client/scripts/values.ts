// Writes the values of the named enums of the OpenAPI document: values.ts OUTPUT

import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

const Document = z.object({
  components: z.object({ schemas: z.record(z.string(), z.looseObject({ enum: z.array(z.string()).optional() })) }),
});

const [output = ''] = process.argv.slice(2);
const document = Document.parse(JSON.parse(readFileSync(new URL('../../../openapi/openapi.json', import.meta.url), 'utf8')));
const lines = Object.entries(document.components.schemas).flatMap(([name, { enum: values }]) =>
  values === undefined ? [] : `export const ${name} = ${JSON.stringify(values)} as const;\n`,
);
writeFileSync(output, `// Generated from openapi/openapi.json: the values of the enums that it names.\n\n${lines.join('')}`);
