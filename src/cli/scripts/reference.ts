// Renders docs/reference.md from the OpenAPI document: the operations with the role that each needs, and the problem types.

import { z } from 'zod';
import { problemPrefix, problemTypes } from '../../service/http/problem-schemas.ts';

const Described = z.object({
  tags: z.array(z.object({ name: z.string(), description: z.string() })),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        operationId: z.string(),
        tags: z.array(z.string()),
        summary: z.string(),
        security: z.array(z.record(z.string(), z.array(z.string()))),
        responses: z.record(z.string(), z.unknown()),
      }),
    ),
  ),
});

type Operation = z.infer<typeof Described>['paths'][string][string];

/** Returns the reference page in Markdown. @throws {z.ZodError} if an operation has no summary, tag, security or response. */
export function renderReference(document: unknown): string {
  const { tags, paths } = Described.parse(document);
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, call: `${method.toUpperCase()} ${path}` })),
  );
  const sections = tags.map(({ name, description }) => {
    const rows = operations
      .filter((operation) => operation.tags.includes(name))
      .map(
        (operation) =>
          `| \`${operation.call}\` | \`${operation.operationId}\` | ${operation.summary} | ${requirementOf(operation)} | ${successStatuses(operation)} |`,
      );
    return `## ${name}\n\n${description}\n\n| request | operation | summary | requires | success |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  const problems = Object.entries(problemTypes).map(
    ([type, { status, title }]) => `| \`${problemPrefix}${type}\` | ${status} | ${title} |`,
  );
  return `<!-- Generated from openapi/openapi.json by \`npm run openapi\`. -->

# API reference

Look up an operation, the role that it requires, or a problem type. Parameters, bodies, responses and examples are in [openapi/openapi.json](../openapi/openapi.json);
a running service shows them at \`/documentation\`, with a form to try each operation. [API conventions](explanation/api-conventions.md) apply to all operations.

${sections.join('\n')}
## Problems

Error responses are \`application/problem+json\` (RFC 9457). Their \`type\` is stable; \`detail\` says what to change.

| type | status | title |
| --- | --- | --- |
${problems.join('\n')}
`;
}

/** Names of the security schemes in the page. */
const schemeNames: Readonly<Record<string, string>> = { joinToken: 'the join token', agentToken: "the host's token" };

function requirementOf({ security }: Operation): string {
  const requirements = security
    .flatMap((alternative) => Object.entries(alternative))
    .map(([scheme, [role]]) => schemeNames[scheme] ?? `an API key: \`${role}\``);
  return requirements.join(' or ') || 'nothing';
}

function successStatuses({ responses }: Operation): string {
  return Object.keys(responses)
    .filter((status) => status < '400')
    .join(', ');
}
