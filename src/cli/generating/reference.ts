// The reference as a page of text, made from the OpenAPI document: every operation with who may ask for it, and every problem.

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

/** The page, in Markdown. @throws {z.ZodError} when an operation lacks what it is described by. */
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
          `| \`${operation.call}\` | \`${operation.operationId}\` | ${operation.summary} | ${needOf(operation)} | ${successesOf(operation)} |`,
      );
    return `## ${name}\n\n${description}\n\n| call | operation | what it does | needs | answers |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  const problems = Object.entries(problemTypes).map(
    ([type, { status, title }]) => `| \`${problemPrefix}${type}\` | ${status} | ${title} |`,
  );
  return `<!-- Made from openapi/openapi.json by \`npm run openapi\`. -->

# Reference

Every call of the API in one table each; parameters, bodies, answers and examples are in [openapi/openapi.json](../openapi/openapi.json), and with a form to try them on the
page \`/documentation\` of a running service. What holds for all of them is in [the API's manners](explanation/manners.md).

${sections.join('\n')}
## Problems

Errors are answered as \`application/problem+json\` (RFC 9457). Their \`type\` is stable; \`detail\` says what to change.

| type | status | title |
| --- | --- | --- |
${problems.join('\n')}
`;
}

/** Schemes by what they are called to a reader. */
const schemes: Readonly<Record<string, string>> = { joinToken: 'the join token', agentToken: "the host's token" };

function needOf({ security }: Operation): string {
  const needs = security.flatMap((one) => Object.entries(one)).map(([scheme, [role]]) => schemes[scheme] ?? `a key: \`${role}\``);
  return needs.join(' or ') || 'nothing';
}

function successesOf({ responses }: Operation): string {
  return Object.keys(responses)
    .filter((status) => status < '400')
    .join(', ');
}
