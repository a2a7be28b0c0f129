// What the service and device hosts need of a tracing library: spans with a parent that may be in another process.

/** Values of a span. Keys follow the semantic conventions of OpenTelemetry where they have one. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

export type SpanOptions = {
  /** `traceparent` of the parent; null: the span begins a trace. */
  readonly parent: string | null;
  /** `traceparent` of spans in other traces that caused this one earlier. */
  readonly links?: readonly string[];
  readonly kind: 'server' | 'consumer' | 'internal';
  readonly attributes?: Attributes;
  /** Milliseconds since 1970; default: now. */
  readonly startTime?: number;
};

export interface Span {
  /** `traceparent` of the span, for its children. */
  readonly traceparent: string;
  /** Fields of log lines about the span. */
  readonly logFields: { readonly trace_id: string; readonly span_id: string };
  /** Adds an event. @param time Milliseconds since 1970. */
  addEvent(name: string, attributes: Attributes, time: number): void;
  /** Ends the span. @param failure Why it failed; null if it did not. */
  end(attributes: Attributes, failure: string | null): void;
}

export interface Tracer {
  startSpan(name: string, options: SpanOptions): Span;
  /** Sends what was not sent yet, within the time limit of an export. Never rejects. */
  close(): Promise<void>;
}
