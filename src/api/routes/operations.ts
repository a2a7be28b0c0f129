// /v1/audit and the health endpoints.

import type { z } from 'zod';
import type { Control } from '../../control/control.ts';
import { hashText } from '../../proof/merkle-tree.ts';
import type { AuditRecord } from '../../store/records/audit.ts';
import { answerPage, pageByTimeAndNumber, rangeOf } from '../pages.ts';
import { AuditDetail, AuditEvent, AuditPage, auditQuery, FleetHealth, Live, Readiness } from '../schemas/operations.ts';
import { onlyProblems, problems } from '../schemas/problem.ts';
import type { Api } from './route.ts';

const tags = ['operations'];

export function addOperationsRoutes(app: Api, control: Control): void {
  app.get(
    '/v1/audit',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'listAuditEvents',
        tags,
        summary: 'List the audit trail',
        querystring: auditQuery,
        response: { 200: AuditPage.describe('Who did what to which object, when.'), ...problems() },
      },
    },
    async (request, reply) => {
      const { action, object, actor, outcome, request: requestId } = request.query;
      const filter = { action, object, actor, outcome, requestId, ...rangeOf(request.query) };
      const { items, next } = await control.auditTrail(filter, pageByTimeAndNumber(request));
      return answerPage(request, reply, items.map(toAuditEvent), next);
    },
  );

  app.get(
    '/v1/health',
    {
      config: { access: 'viewer' },
      schema: {
        operationId: 'getFleetHealth',
        tags,
        summary: 'Get the health of the fleet',
        response: { 200: FleetHealth.describe('Hosts, devices and loads, and why it is not all well.'), ...problems() },
      },
    },
    async () => {
      const health = await control.fleetHealth();
      return { ...health, reasons: [...health.reasons], loads: { ...health.loads, outcomes: { ...health.loads.outcomes } } };
    },
  );

  app.get(
    '/health/live',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getLiveness',
        tags,
        summary: 'Whether the service runs',
        response: { 200: Live.describe('It runs.'), ...onlyProblems('too-many-requests') },
      },
    },
    async () => ({ status: 'live' as const }),
  );

  app.get(
    '/health/ready',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getReadiness',
        tags,
        security: [],
        summary: 'Whether the service can do its work',
        response: {
          200: Readiness.describe('It can: the database takes writes and has every migration, and the service is not closing.'),
          503: Readiness.describe('It cannot, and why.'),
          ...onlyProblems('too-many-requests'),
        },
      },
    },
    async (_request, reply) => {
      const reasons = await control.notReadyBecause();
      if (reasons.length === 0) return { status: 'ready' as const, reasons: [] };
      return reply.status(503).send({ status: 'not-ready', reasons: [...reasons] });
    },
  );
}

/** An event of the audit trail as the API tells it. */
export function toAuditEvent(event: AuditRecord): z.infer<typeof AuditEvent> {
  const { number, at, actor, action, object, outcome, requestId, detail, previous, hash } = event;
  return {
    number,
    at: at.toISOString(),
    actor,
    action,
    object,
    outcome: AuditEvent.shape.outcome.parse(outcome),
    request: requestId === '' ? null : requestId,
    detail: AuditDetail.parse(detail),
    previous: previous.length === 0 ? null : hashText(previous),
    hash: hashText(hash),
  };
}
