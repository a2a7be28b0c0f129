// Traces with OpenTelemetry, configured by its standard environment variables. Without them nothing of the library is loaded.

import type { Context, SpanContext, Span as TelemetrySpan, Tracer as TelemetryTracer } from '@opentelemetry/api';
import type { Sampler, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Attributes, Span, SpanOptions, Tracer } from './tracer.ts';

const endpointVariables = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** A setting of tracing is invalid. The message says what to change. */
export class TracingSettingError extends Error {
  override readonly name = 'TracingSettingError';
}

/**
 * Returns a tracer if the environment configures OTLP (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/):
 * `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER=otlp`. Otherwise null.
 * @param serviceName `service.name`, unless the environment sets it.
 * @throws {TracingSettingError}
 */
export async function openTracer(environment: Environment, serviceName: string): Promise<Tracer | null> {
  if (!isConfigured(environment)) return null;
  const [api, sdk, resources, exporter] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    openExporter(environment),
  ]);
  const detected = resources.detectResources({ detectors: [resources.envDetector] });
  const provider = new sdk.TracerProvider({
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes({ 'service.name': environment['OTEL_SERVICE_NAME'] || serviceName }))
      .merge(detected),
    sampler: createSampler(environment, sdk),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter, ...batchOptions(environment) })],
  });
  // A receiver that is unreachable fails neither the work of the process nor its end: the last spans are lost.
  const close = () => provider.shutdown().catch(() => {});
  return new OpenTelemetryTracer(api, provider.getTracer('patchbay'), close);
}

function isConfigured(environment: Environment): boolean {
  const exporter = environment['OTEL_TRACES_EXPORTER'] ?? '';
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' || exporter === 'none') return false;
  if (exporter !== '' && exporter !== 'otlp')
    throw new TracingSettingError(`OTEL_TRACES_EXPORTER: expected otlp or none, received "${exporter}"`);
  const endpoints = endpointVariables.filter((variable) => (environment[variable] ?? '') !== '');
  for (const variable of endpoints) checkEndpoint(variable, environment[variable] ?? '');
  return exporter === 'otlp' || endpoints.length > 0;
}

/** The exporters ignore an invalid URL silently. @throws {TracingSettingError} */
function checkEndpoint(variable: string, endpoint: string): void {
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new TracingSettingError(`${variable}: expected a URL such as http://127.0.0.1:4318, received "${endpoint}"`);
}

/** The exporters read the endpoint, headers, timeout and compression from the environment. */
async function openExporter(environment: Environment): Promise<SpanExporter> {
  const protocol = environment['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || environment['OTEL_EXPORTER_OTLP_PROTOCOL'] || 'http/protobuf';
  if (protocol === 'http/protobuf') return new (await import('@opentelemetry/exporter-trace-otlp-proto')).OTLPTraceExporter();
  if (protocol === 'http/json') return new (await import('@opentelemetry/exporter-trace-otlp-http')).OTLPTraceExporter();
  throw new TracingSettingError(`OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, received "${protocol}"`);
}

/** Returns the sampler that `OTEL_TRACES_SAMPLER` names; the default samples everything whose parent is sampled. */
function createSampler(environment: Environment, sdk: typeof import('@opentelemetry/sdk-trace')): Sampler {
  const name = environment['OTEL_TRACES_SAMPLER'] || 'parentbased_always_on';
  const root = () => {
    switch (name.replace('parentbased_', '')) {
      case 'always_on':
        return new sdk.AlwaysOnSampler();
      case 'always_off':
        return new sdk.AlwaysOffSampler();
      case 'traceidratio':
        return new sdk.TraceIdRatioBasedSampler(readRatio(environment['OTEL_TRACES_SAMPLER_ARG']));
      default:
        throw new TracingSettingError(
          `OTEL_TRACES_SAMPLER: expected always_on, always_off or traceidratio, also after parentbased_, received "${name}"`,
        );
    }
  };
  return name.startsWith('parentbased_') ? new sdk.ParentBasedSampler({ root: root() }) : root();
}

function readRatio(text = '1'): number {
  const ratio = Number(text);
  if (!(ratio >= 0 && ratio <= 1))
    throw new TracingSettingError(`OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, received "${text}"`);
  return ratio;
}

function batchOptions(environment: Environment) {
  const read = (variable: string) => {
    const value = Number(environment[variable] || Number.NaN);
    return Number.isInteger(value) && value > 0 ? value : undefined;
  };
  const delay = read('OTEL_BSP_SCHEDULE_DELAY');
  const queue = read('OTEL_BSP_MAX_QUEUE_SIZE');
  const batch = read('OTEL_BSP_MAX_EXPORT_BATCH_SIZE');
  const timeout = read('OTEL_BSP_EXPORT_TIMEOUT');
  return {
    ...(delay === undefined ? {} : { scheduledDelayMillis: delay }),
    ...(queue === undefined ? {} : { maxQueueSize: queue }),
    ...(batch === undefined ? {} : { maxExportBatchSize: batch }),
    ...(timeout === undefined ? {} : { exportTimeoutMillis: timeout }),
  };
}

type Api = typeof import('@opentelemetry/api');

class OpenTelemetryTracer implements Tracer {
  readonly #api: Api;
  readonly #tracer: TelemetryTracer;
  readonly close: () => Promise<void>;

  constructor(api: Api, tracer: TelemetryTracer, close: () => Promise<void>) {
    this.#api = api;
    this.#tracer = tracer;
    this.close = close;
  }

  startSpan(name: string, { parent, links = [], kind, attributes = {}, startTime }: SpanOptions): Span {
    const { SpanKind, SpanStatusCode } = this.#api;
    const kinds = { server: SpanKind.SERVER, consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL } as const;
    const options = {
      kind: kinds[kind],
      attributes: { ...attributes },
      links: links.map((link) => ({ context: toSpanContext(link) })),
      ...(startTime === undefined ? {} : { startTime }),
    };
    return new OpenTelemetrySpan(this.#tracer.startSpan(name, options, this.#contextOf(parent)), SpanStatusCode.ERROR);
  }

  #contextOf(parent: string | null): Context {
    const { ROOT_CONTEXT, trace } = this.#api;
    if (parent === null) return ROOT_CONTEXT;
    return trace.setSpanContext(ROOT_CONTEXT, toSpanContext(parent));
  }
}

function toSpanContext(traceparent: string): SpanContext {
  const [, traceId = '', spanId = '', flags = '00'] = traceparent.split('-');
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}

class OpenTelemetrySpan implements Span {
  readonly #span: TelemetrySpan;
  readonly #errorStatus: number;
  readonly traceparent: string;
  readonly logFields: { readonly trace_id: string; readonly span_id: string };

  constructor(span: TelemetrySpan, errorStatus: number) {
    this.#span = span;
    this.#errorStatus = errorStatus;
    const { traceId, spanId, traceFlags }: SpanContext = span.spanContext();
    this.traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
    this.logFields = { trace_id: traceId, span_id: spanId };
  }

  addEvent(name: string, attributes: Attributes, time: number): void {
    this.#span.addEvent(name, { ...attributes }, time);
  }

  end(attributes: Attributes, failure: string | null): void {
    this.#span.setAttributes({ ...attributes });
    if (failure !== null) this.#span.setStatus({ code: this.#errorStatus, message: failure });
    this.#span.end();
  }
}
