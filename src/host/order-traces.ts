// A span for the execution of an order, which continues the trace of the request that caused it. Steps of the isolation workflow are events.

import type { Order } from '../protocol/agent.ts';
import type { Attributes, Span, Tracer } from '../tracing/tracer.ts';
import type { OrderReport } from './outbox.ts';

/** Executes an order in a span. Returns the report, which names the span. */
export async function executeTraced(tracer: Tracer, order: Order, execute: () => Promise<OrderReport>): Promise<OrderReport> {
  const { kind, device } = order;
  const attributes = { 'patchbay.order': order.order, 'patchbay.device': device, ...contentOf(order) };
  const span = tracer.startSpan(`execute ${kind}`, { parent: order.traceparent ?? null, kind: 'consumer', attributes });
  try {
    const report = await execute();
    endSpan(span, report);
    return { ...report, traceparent: span.traceparent };
  } catch (error) {
    span.end({}, String(error));
    throw error;
  }
}

function contentOf(order: Order): Attributes {
  if ('patchSet' in order) return { 'patchbay.load': order.load, 'patchbay.patch_set': `${order.patchSet.name}@${order.patchSet.version}` };
  if (order.kind === 'load') return { 'patchbay.load': order.load, 'patchbay.module': order.module, 'patchbay.version': order.version };
  return 'load' in order ? { 'patchbay.load': order.load } : {};
}

function endSpan(span: Span, report: OrderReport): void {
  if (report.kind !== 'load-completed') {
    span.end({}, report.failure);
    return;
  }
  const { outcome, reason, interrupted, steps } = report.result;
  for (const { step, operation, at, module } of steps)
    span.addEvent(
      step,
      {
        ...(operation === null ? {} : { 'patchbay.operation': operation }),
        ...(module === undefined ? {} : { 'patchbay.module': module }),
      },
      Date.parse(at),
    );
  // A refusal is a result, not a failure of the host.
  span.end({ 'patchbay.outcome': outcome, 'patchbay.interrupted': interrupted }, outcome === 'failed' ? (reason ?? outcome) : null);
}
