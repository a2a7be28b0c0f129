// The originator of an operation: a client of the API, or the service itself.

/** A request with an `Idempotency-Key`. */
export type IdempotentRequest = {
  /** The caller. Keys are scoped to it: two clients can use the same key. */
  readonly actor: string;
  readonly key: string;
  readonly route: string;
  readonly body: string | Uint8Array;
  /** A secret of the client, with which the stored response is encrypted if it contains a secret; otherwise null. */
  readonly sealedBy: string | null;
};

/** The actor of an operation, and its request. */
export type Requester = {
  readonly actor: string;
  readonly requestId: string;
  /** The span of the request, which orders continue; set if the request is traced. */
  readonly traceparent?: string;
  /** Set if the request has an Idempotency-Key. */
  readonly idempotentRequest?: IdempotentRequest;
};

/** The service itself, as the actor of background operations. */
export const systemActor: Requester = { actor: 'service', requestId: '' };
