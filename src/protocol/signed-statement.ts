// Schemas of signed statements and of the service's signing keys.

import { z } from 'zod';
import { Envelope } from '../proof/envelope.ts';
import { createStatement, statementPayloadType } from '../proof/statement.ts';
import { exampleBuild, exampleIdentity, exampleRequest, exampleTimes } from './examples.ts';
import { Digest, exampleIdentifier, Timestamp } from './identifiers.ts';

const exampleStatement = createStatement({
  ...exampleBuild,
  origin: exampleIdentity.origin,
  pushedBy: exampleIdentifier('key'),
  requestId: exampleRequest,
  startedAt: new Date(exampleTimes.received),
  finishedAt: new Date(exampleTimes.pushed),
});

export const SignedStatement = Envelope.meta({
  id: 'Envelope',
  description: 'A signed statement: a DSSE envelope (github.com/secure-systems-lab/dsse).',
  examples: [
    {
      payloadType: statementPayloadType,
      payload: Buffer.from(exampleStatement).toString('base64'),
      signatures: [{ keyid: exampleIdentity.keyId, sig: exampleIdentity.signature }],
    },
  ],
});

/** A current or former signing key of the service, as sent to hosts. */
export const ServiceKey = z
  .object({
    keyId: Digest.describe('SHA-256 of the public key (SubjectPublicKeyInfo), used as `keyid` in envelopes.'),
    publicKey: z.string().describe('The Ed25519 public key in PEM.'),
    createdAt: Timestamp,
    endorsement: SignedStatement.nullable().describe('Statement in which the previous key endorses this key. Null if there is none.'),
  })
  .meta({ id: 'ServiceKey' });
export type ServiceKey = z.infer<typeof ServiceKey>;

export const exampleServiceKey = {
  keyId: exampleIdentity.keyId,
  publicKey: exampleIdentity.publicKey,
  createdAt: exampleTimes.registered,
  endorsement: null,
};

/** All current and former signing keys of the service, the oldest first. */
export const ServiceKeys = z
  .object({ signingKeys: z.array(ServiceKey) })
  .meta({ id: 'ServiceKeys', examples: [{ signingKeys: [exampleServiceKey] }] });
