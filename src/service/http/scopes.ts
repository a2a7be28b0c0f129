// Checks that the objects in paths are in the scope of the API key or user. `access.ts` refuses callers with a scope on routes that do not honour it.

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import { scopeOf } from './access.ts';

/** Checks an object by the reference in a path. @throws {Problem} `not-found` if a device of it is out of scope, as if it did not exist. */
type ScopeCheck = (reference: string, scope: LabelSelector) => Promise<void>;

const pathParameters = z.record(z.string(), z.string());

/**
 * Checks the objects in the paths of routes with the rule `path`. Add it before idempotency keys, whose stored responses it also protects.
 * @param checks The checks by path parameter.
 */
export function addScopeChecks(app: FastifyInstance, checks: Readonly<Record<string, ScopeCheck>>): void {
  app.addHook('preHandler', async (request) => {
    const scope = scopeOf(request);
    if (scope === null || request.routeOptions.config.scope !== 'path') return;
    const checked = Object.entries(pathParameters.parse(request.params)).flatMap(([name, reference]) => {
      const check = checks[name];
      return check === undefined ? [] : [check(reference, scope)];
    });
    if (checked.length === 0) throw new Error(`${request.routeOptions.url} has no path parameter with a check of its scope`);
    await Promise.all(checked);
  });
}
