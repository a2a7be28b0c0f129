// Unicode validation of strings in requests.

import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Schemas } from '../../../src/client/client.ts';
import { bearer, joinToken, TestService } from '../test-service.ts';

const service = new TestService();
beforeAll(() => service.start());
afterAll(() => service.close());

const toDo = 'contains the character U+0000: remove it';

test('U+0000 is rejected anywhere in a body, with its position', async () => {
  const refused = await service.postRaw('/v1/keys', { name: 'a\0b', role: 'viewer', 'more/of~it': [{ a: '\0' }] });
  expect(refused).toMatchObject({
    status: 422,
    body: {
      type: 'urn:patchbay:problem:invalid-value',
      errors: [
        { in: 'body', pointer: '/name', detail: toDo },
        { in: 'body', pointer: '/more~1of~0it/0/a', detail: toDo },
      ],
    },
  });
  expect(await service.postRaw('/v1/keys', { '\0': 1 })).toMatchObject({ status: 422, body: { errors: [{ pointer: '' }] } });
  const registration = { name: 'h', bootId: 'boot-of-a-host\0', capacity: 1, devices: [] };
  expect((await service.post('/agent/v1/hosts', registration, bearer(joinToken))).status).toBe(422);
});

test('U+0000 is rejected in a URL', async () => {
  for (const path of ['/v1/devices/%00', '/v1/devices?name=%00', '/v1/modules/tcp%00/builds']) {
    const refused = await service.get(path);
    expect(refused, path).toMatchObject({ status: 422, body: { detail: `the URL ${toDo} (%00)` } });
    expect(refused.body['errors'], path).toEqual(
      path.includes('?') ? [expect.objectContaining({ in: 'query', pointer: '/name' })] : undefined,
    );
  }
});

test('an unpaired surrogate is rejected, and a surrogate pair is accepted', async () => {
  const load = { module: 'tcp', version: '1.0.0', devices: ['none'], versionPolicy: 'downgrade' };
  const refused = await service.request('POST', '/v1/loads', JSON.stringify({ ...load, downgradeReason: 'a\ud800b' }));
  const detail = 'contains an unpaired surrogate: remove it';
  expect(refused).toMatchObject({ status: 422, body: { errors: [{ in: 'body', pointer: '/downgradeReason', detail }] } });
  const escaped = JSON.stringify({ ...load, downgradeReason: 'x' }).replace('"x"', String.raw`"\ud83d\ude00"`);
  expect(JSON.stringify((await service.request('POST', '/v1/loads', escaped)).body)).not.toContain('surrogate');
});

test('the escaped text \\u0000 is accepted', async () => {
  const load: Schemas['NewLoads'] = {
    module: 'tcp',
    version: '1.0.0',
    devices: ['none'],
    versionPolicy: 'downgrade',
    downgradeReason: String.raw`a\u0000b`,
  };
  expect(JSON.stringify((await service.post('/v1/loads', load)).body)).not.toContain('U+0000');
});
