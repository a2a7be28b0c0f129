// Repeated requests: one is carried out at a time, its answer is kept, and what failed may be tried again.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Control } from '../../src/control/control.ts';
import { Problem } from '../../src/control/problem.ts';
import { ModuleName } from '../../src/protocol/identifiers.ts';

let folder: string;
let control: Control;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'patchbay-answers-'));
  control = await Control.open(join(folder, 'patchbay.db'), { joinToken: 'not used', unreachableAfter: 60_000 });
});
afterEach(async () => {
  await control.close();
  rmSync(folder, { recursive: true, force: true });
});

const request = { key: 'k', route: 'POST /v1/things', body: '{"a":1}' };
const answer = { status: 201, contentType: 'application/json', location: '/v1/things/1', body: '{"id":1}' };
const kindOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'begun',
    (error) => (error instanceof Problem ? error.kind : error),
  );

test('while a request is under way, the same key is busy', async () => {
  const attempts = await Promise.all(Array.from({ length: 100 }, () => kindOf(control.answers.begin(request))));
  expect(attempts.filter((kind) => kind === 'begun')).toHaveLength(1);
  expect(attempts.filter((kind) => kind === 'busy')).toHaveLength(99);
});

test('a request that was carried out is answered the same, also to a service started anew', async () => {
  expect(await control.answers.begin(request)).toBeNull();
  await control.answers.keep(request, answer);
  expect(await control.answers.begin(request)).toMatchObject(answer);
  await control.close();
  control = await Control.open(join(folder, 'patchbay.db'), { joinToken: 'not used', unreachableAfter: 60_000 });
  expect(await control.answers.begin(request)).toMatchObject(answer);
  expect(await control.answers.begin(request)).toMatchObject(answer);
});

test('a request that was abandoned may be made again', async () => {
  await control.answers.begin(request);
  control.answers.abandon(request.key);
  expect(await control.answers.begin(request)).toBeNull();
});

test.each([{ body: '{"a":2}' }, { route: 'POST /v1/others' }])('a key is for one request: not with %j', async (change) => {
  await control.answers.begin(request);
  await control.answers.keep(request, answer);
  expect(await kindOf(control.answers.begin({ ...request, ...change }))).toBe('invalid-value');
  expect(await control.answers.begin(request)).toMatchObject(answer);
});

test('what a request makes and its answer are on disk together, or neither is', async () => {
  const push = (version: string) =>
    control.builds.push(
      { module: ModuleName.parse('tcp'), version, language: 'wat', source: '(module (func (export "f")))' },
      { actor: 'test', requestId: 'req_test', repeatable: request },
      ({ build }) => ({ ...answer, body: build.id }),
    );
  await control.answers.begin(request);
  expect(await kindOf(push('not a version'))).toBe('invalid-value');
  control.answers.abandon(request.key);
  expect(await control.answers.begin(request)).toBeNull();
  const { build } = await push('1.0.0');
  // The service is gone before it has answered.
  await control.close();
  control = await Control.open(join(folder, 'patchbay.db'), { joinToken: 'not used', unreachableAfter: 60_000 });
  expect(await control.answers.begin(request)).toMatchObject({ ...answer, body: build.id });
});
