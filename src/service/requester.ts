// Who asks for something: a client of the API, or the service itself.

/** A request with an `Idempotency-Key`. */
export type IdempotentRequest = {
  /** Who makes it: two clients that choose the same key do not meet. */
  readonly actor: string;
  readonly key: string;
  readonly route: string;
  readonly body: string | Uint8Array;
  /** What only the client has, where the answer holds a secret and is kept encrypted; null where it does not. */
  readonly sealedBy: string | null;
};

/** Who asks, and in which request. */
export type Requester = {
  readonly actor: string;
  readonly requestId: string;
  /** Where the request has a key under which it may be repeated. */
  readonly idempotentRequest?: IdempotentRequest;
};

/** The service, where it does something by itself. */
export const systemActor: Requester = { actor: 'service', requestId: '' };
