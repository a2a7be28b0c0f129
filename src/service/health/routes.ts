// Health of the fleet, liveness and readiness.

import { onlyProblems, problems } from '../http/problem-schemas.ts';
import type { Api } from '../http/route.ts';
import type { Health } from './health.ts';
import { FleetHealth, Liveness, Readiness } from './schemas.ts';

const tags = ['operations'];

export function addOperationsRoutes(app: Api, { health }: { readonly health: Health }): void {
  app.get(
    '/v1/health',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getFleetHealth',
        tags,
        summary: 'Get the health of the fleet',
        response: {
          200: FleetHealth.describe('The status of hosts, devices and loads, and the reasons if the fleet is degraded.'),
          ...problems(),
        },
      },
    },
    async () => {
      const fleet = await health.fleet();
      return { ...fleet, reasons: [...fleet.reasons], loads: { ...fleet.loads, outcomes: { ...fleet.loads.outcomes } } };
    },
  );

  app.get(
    '/health/live',
    {
      config: { access: 'public', exemptFromRateLimit: true },
      schema: {
        operationId: 'getLiveness',
        tags,
        summary: 'Check liveness',
        response: { 200: Liveness.describe('The service runs.'), ...onlyProblems('malformed-request', 'internal') },
      },
    },
    async () => ({ status: 'live' as const }),
  );

  app.get(
    '/health/ready',
    {
      config: { access: 'public', exemptFromRateLimit: true },
      schema: {
        operationId: 'getReadiness',
        tags,
        security: [],
        summary: 'Check readiness',
        response: {
          200: Readiness.describe(
            'The service is ready: the database accepts writes and has all migrations, and the service is not shutting down.',
          ),
          503: Readiness.describe('The service is not ready, with the reasons.'),
          ...onlyProblems('malformed-request', 'internal'),
        },
      },
    },
    async (_request, reply) => {
      const reasons = await health.notReadyReasons();
      if (reasons.length === 0) return { status: 'ready' as const, reasons: [] };
      return reply.status(503).send({ status: 'not-ready', reasons: [...reasons] });
    },
  );
}
