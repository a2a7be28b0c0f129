// /metrics: metrics for Prometheus.

import { z } from 'zod';
import { problems } from '../http/problem-schemas.ts';
import { type Api, sendRaw } from '../http/route.ts';
import type { Health } from './health.ts';

const mediaType = 'text/plain; version=0.0.4';

export function addMetricsRoute(app: Api, { health }: { readonly health: Health }): void {
  app.get(
    '/metrics',
    {
      config: { access: 'viewer', exemptFromLoadShedding: true },
      schema: {
        operationId: 'getMetrics',
        tags: ['operations'],
        summary: 'Get metrics',
        description:
          'Returns metrics in the Prometheus text format. Configure the API key as the bearer token of the scrape. Counters start at 0 when the service starts.',
        response: {
          200: { description: 'The metrics, with help texts.', content: { [mediaType]: { schema: z.string() } } },
          ...problems(),
        },
      },
    },
    async (_request, reply) => sendRaw(reply.status(200).type(`${mediaType}; charset=utf-8`), await health.metrics()),
  );
}
