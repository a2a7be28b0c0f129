// Traces of real processes, received over OTLP: from a request through its order and the device to the stored report.

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { unwrapAccepted, unwrapResponse } from '../../src/client/client.ts';
import { until, workModule } from '../service/test-service.ts';
import { retryingClient } from './retrying-client.ts';

const KeyValue = z.object({ key: z.string(), value: z.record(z.string(), z.unknown()) });
const Span = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  attributes: z.array(KeyValue).default([]),
  events: z.array(z.object({ name: z.string() })).default([]),
  links: z.array(z.object({ traceId: z.string(), spanId: z.string() })).default([]),
  status: z.object({ code: z.number().optional() }).optional(),
});
const Export = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes: z.array(KeyValue) }),
      scopeSpans: z.array(z.object({ spans: z.array(Span) })),
    }),
  ),
});
type ReceivedSpan = z.infer<typeof Span> & { readonly service: unknown };

let folder = '';
let service: PatchbayProcess | null = null;
/** Whether the receiver does not respond. */
let isHanging = false;
const requests: { readonly contentType: string; readonly body: Buffer }[] = [];
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    requests.push({ contentType: String(request.headers['content-type']), body: Buffer.concat(chunks) });
    if (!isHanging) response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-tracing-'));
  requests.length = 0;
  isHanging = false;
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await service?.stop('SIGKILL');
  receiver.closeAllConnections();
  receiver.close();
  rmSync(folder, { recursive: true, force: true });
});

const traceId = '0af7651916cd43dd8448eb211c80319c';
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;

/** Starts a service with one embedded device that exports traces, and pushes a build. Returns a client. */
async function startTraced(variables: Record<string, string>) {
  const address = receiver.address();
  const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const args = ['serve', '--port', '0', '--embedded-devices', '1', '--database', join(folder, 'patchbay.db'), '--log-level', 'info'];
  const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_BSP_SCHEDULE_DELAY: '50', ...variables };
  for (const [name, value] of Object.entries(tracing)) vi.stubEnv(name, value);
  service = new PatchbayProcess('the service', args);
  const [, url = ''] = await service.waitForLine(/API +(http:\S+)\/v1$/);
  const client = retryingClient(url, join(folder, 'admin-key'));
  await until('the device is connected', async () => unwrapResponse(await client.GET('/v1/health')).devices.connected === 1);
  const build = { version: '1.0.0', language: 'wat', source: workModule(1) } as const;
  unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path: { module: 'tcp' } }, body: build }));
  return client;
}

/** Starts the service, and loads the build in the trace. Returns the load. */
async function loadTraced(variables: Record<string, string>): Promise<string> {
  const client = await startTraced(variables);
  const body = { module: 'tcp', version: '1.0.0', devices: ['embedded-1'] };
  const { loads } = unwrapAccepted(await client.POST('/v1/loads', { body, headers: { traceparent } }));
  return loads[0]?.id ?? '';
}

function received(): ReceivedSpan[] {
  return requests.flatMap(({ body }) =>
    Export.parse(JSON.parse(body.toString())).resourceSpans.flatMap(({ resource, scopeSpans }) => {
      const name = resource.attributes.find(({ key }) => key === 'service.name')?.value['stringValue'];
      return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service: name })));
    }),
  );
}

test('a trace leads from the request through the order and the device to the stored report, and log lines name it', async () => {
  const load = await loadTraced({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' });
  const spans = await until('the trace is complete', async () => {
    const ofTrace = received().filter((span) => span.traceId === traceId);
    return ofTrace.length >= 3 && ofTrace;
  });
  const named = (name: string) => {
    const span = spans.find((each) => each.name === name);
    if (span === undefined) throw new Error(`no span ${name}: ${spans.map((each) => each.name).join()}`);
    return span;
  };
  const [request, execution, report] = [named('POST /v1/loads'), named('execute load'), named('store load-completed')];
  expect(spans).toHaveLength(3);
  expect([request.parentSpanId, execution.parentSpanId, report.parentSpanId]).toEqual([
    'b7ad6b7169203331',
    request.spanId,
    execution.spanId,
  ]);
  expect([request.service, execution.service, report.service]).toEqual(['patchbay', 'patchbay-host', 'patchbay']);
  expect(execution.attributes).toContainEqual({ key: 'patchbay.load', value: { stringValue: load } });
  expect(execution.attributes).toContainEqual({ key: 'patchbay.outcome', value: { stringValue: 'installed' } });
  expect(execution.events.map(({ name }) => name)).toEqual(expect.arrayContaining(['looked-up', 'loaded', 'table-updated', 'completed']));
  expect(request.attributes).toContainEqual({ key: 'http.response.status_code', value: { intValue: 202 } });
  // The other requests of this test began traces of their own.
  expect(received().some(({ name, traceId: other }) => name.startsWith('POST /v1/modules') && other !== traceId)).toBe(true);
  expect(service?.lastLines).toMatch(new RegExp(`"trace_id":"${traceId}","span_id":"${request.spanId}"`));
});

test('the loads of a rollout have a trace of their own, which links to the request for the rollout, also in its rollback', async () => {
  const client = await startTraced({ OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' });
  // A rollback needs a version before.
  unwrapAccepted(await client.POST('/v1/loads', { body: { module: 'tcp', version: '1.0.0', devices: ['embedded-1'] } }));
  await until('the first version is loaded', async () => received().some(({ name }) => name === 'store load-completed'));
  const build = { version: '1.1.0', language: 'wat', source: workModule(2) } as const;
  unwrapResponse(await client.POST('/v1/modules/{module}/builds', { params: { path: { module: 'tcp' } }, body: build }));
  const body = { module: 'tcp', version: '1.1.0', devices: ['embedded-1'], waves: [{ upToPercent: 100, soakSeconds: 0 }] };
  const { id } = unwrapAccepted(await client.POST('/v1/rollouts', { body, headers: { traceparent } }));
  const traces = () => {
    const spans = received();
    const request = spans.find(({ name, traceId: trace }) => name === 'POST /v1/rollouts' && trace === traceId);
    return { spans, request, batches: spans.filter(({ name }) => name === 'request loads of a rollout') };
  };
  const { spans, request, batches } = await until('the load is traced', async () => {
    const found = traces();
    const [batch] = found.batches;
    const isStored = found.spans.some((span) => span.name === 'store load-completed' && span.traceId === batch?.traceId);
    // The service and the host send their spans independently.
    const isExecuted = found.spans.some((span) => span.name === 'execute load' && span.traceId === batch?.traceId);
    return found.request !== undefined && isStored && isExecuted && found;
  });
  expect(batches).toHaveLength(1);
  const [batch] = batches;
  expect(batch?.parentSpanId).toBeUndefined();
  expect(batch?.traceId).not.toBe(traceId);
  expect(batch?.links).toEqual([{ traceId, spanId: request?.spanId }]);
  expect(batch?.attributes).toContainEqual({ key: 'patchbay.rollout', value: { stringValue: id } });
  const execution = spans.find((span) => span.name === 'execute load' && span.traceId === batch?.traceId);
  expect(execution?.parentSpanId).toBe(batch?.spanId);

  const params = { path: { rollout: id } };
  unwrapResponse(await client.POST('/v1/rollouts/{rollout}/rollback', { params, body: { reason: 'to see' } }));
  const later = await until('the rollback is traced', async () => {
    const found = traces();
    return found.batches.length > 1 && found.spans.some(({ name }) => name === 'POST /v1/rollouts/:rollout/rollback') && found;
  });
  const rollback = later.spans.find(({ name }) => name === 'POST /v1/rollouts/:rollout/rollback');
  expect(later.batches.at(-1)?.links).toEqual([{ traceId: rollback?.traceId, spanId: rollback?.spanId }]);
});

test.each(['hangs', 'is not there'])('a service whose receiver %s works, and stops without an error', async (state) => {
  isHanging = state === 'hangs';
  const endpoint = isHanging ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
  // The attempt to send the last spans ends after this time.
  await loadTraced({ ...endpoint, OTEL_EXPORTER_OTLP_TIMEOUT: '1000' });
  const stopping = service;
  service = null;
  expect(await stopping?.stop()).toBe(0);
  expect(stopping?.lastLines).not.toContain('error');
});

test('the default protocol is protobuf; the service name and the sampler come from the environment', async () => {
  await loadTraced({ OTEL_SERVICE_NAME: 'north-control', OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
  const found = await until('the trace is received', async () => {
    const ofTrace = requests.filter(({ body }) => body.includes(Buffer.from(traceId, 'hex')));
    return ofTrace.some(({ body }) => body.includes('store load-completed')) && ofTrace;
  });
  expect(new Set(found.map(({ contentType }) => contentType))).toEqual(new Set(['application/x-protobuf']));
  expect(found.some(({ body }) => body.includes('north-control'))).toBe(true);
  // Only the sampled parent was: the push of the build is not.
  expect(requests.some(({ body }) => body.includes('POST /v1/modules'))).toBe(false);
});
