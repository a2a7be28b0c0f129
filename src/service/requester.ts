// Who asks for something: a client of the API, or the service itself.

import type { RepeatableRequest } from './idempotency/answers.ts';

/** Who asks, and in which request. */
export type Requester = {
  readonly actor: string;
  readonly requestId: string;
  /** Where the request has a key under which it may be repeated. */
  readonly repeatable?: RepeatableRequest;
};

/** The service, where it does something by itself. */
export const service: Requester = { actor: 'service', requestId: '' };
