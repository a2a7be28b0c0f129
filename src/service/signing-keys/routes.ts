// /v1/signing-keys: lists and rotates the service's signing keys.

import type { z } from 'zod';
import { formatVerifierKey } from '../../proof/signed-note.ts';
import { Digest } from '../../protocol/identifiers.ts';
import { SignedStatement } from '../../protocol/signed-statement.ts';
import type { DamagedRows } from '../database/damaged-rows.ts';
import { parsePageByTime, sendPage } from '../http/pages.ts';
import { postProblems, problems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import type { SigningKeyRecord } from './repository.ts';
import { SigningKey, SigningKeyPage, signingKeyParameter, signingKeyQuery } from './schemas.ts';
import type { SigningKeys } from './signing-keys.ts';

const tags = ['signing keys'];

type Uses = { readonly signingKeys: SigningKeys; readonly damagedRows: DamagedRows };

export function addSigningKeyRoutes(app: Api, { signingKeys, damagedRows }: Uses): void {
  app.post(
    '/v1/signing-keys',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'rotateSigningKey',
        tags,
        summary: 'Rotate the signing key',
        description:
          'Creates a key that the current key endorses, and signs with it from then on. The private part of the old key is deleted. ' +
          'Signatures of the old key remain valid. The endorsements link each earlier key to the new key, so that a client that trusts one can verify the other.',
        response: { 201: SigningKey.describe('The new key.'), ...postProblems('too-many-keys') },
      },
    },
    async (request, reply) => {
      const { status, location, body } = toCreated(
        await signingKeys.rotate(getRequester(request), (created) => toStoredResponse(toCreated(created, signingKeys.origin))),
        signingKeys.origin,
      );
      return reply.status(status).header('location', location).send(body);
    },
  );

  app.get(
    '/v1/signing-keys',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'listSigningKeys',
        tags,
        summary: 'List signing keys',
        querystring: signingKeyQuery,
        response: {
          200: SigningKeyPage.describe('A page of current and former signing keys, without their private parts.'),
          ...problems(),
        },
      },
    },
    async (request, reply) => {
      const page = await signingKeys.list(parsePageByTime(request));
      return sendPage(request, reply, page, {
        kind: 'signing key',
        schema: SigningKey,
        idOf: ({ id }) => id,
        toItem: (record) => toSigningKey(record, signingKeys.origin),
        damagedRows,
      });
    },
  );

  app.get(
    '/v1/signing-keys/:signingKey',
    {
      config: { access: 'viewer', scope: 'unrelated' },
      schema: {
        operationId: 'getSigningKey',
        tags,
        summary: 'Get a signing key',
        params: signingKeyParameter,
        response: { 200: SigningKey.describe('The key, without its private part.'), ...problems('not-found') },
      },
    },
    async ({ params }) => toSigningKey(await signingKeys.find(params.signingKey), signingKeys.origin),
  );
}

function toCreated(record: SigningKeyRecord, origin: string): CreatedResponse<201, z.infer<typeof SigningKey>> {
  return { status: 201, location: `/v1/signing-keys/${record.id}`, body: toSigningKey(record, origin) };
}

function toSigningKey(
  { id, keyId, publicKey, createdAt, retiredAt, endorsement }: SigningKeyRecord,
  origin: string,
): z.infer<typeof SigningKey> {
  return {
    id,
    keyId: Digest.parse(keyId),
    publicKey,
    verifierKey: formatVerifierKey(origin, { keyId, pem: publicKey }),
    createdAt: createdAt.toISOString(),
    retiredAt: retiredAt?.toISOString() ?? null,
    endorsement: endorsement === null ? null : SignedStatement.parse(endorsement),
  };
}
