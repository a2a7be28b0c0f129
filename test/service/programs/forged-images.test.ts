// An attacker with write access to the database attaches forged images to programs: devices refuse them, and the service does not sign them.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { readDriverStatement } from '../../../src/proof/driver-statement.ts';
import { Envelope, readEnvelope } from '../../../src/proof/envelope.ts';
import { createEndorsement, createSignedEnvelope } from '../../../src/signing/envelope-signing.ts';
import { derivePublicKey, generatePrivateKey } from '../../../src/signing/private-key.ts';
import { runSql, timeInSql } from '../../databases.ts';
import { type ForgedImage, forgedDriver } from '../../machine/forged-images.ts';
import { itemsOf, TestService, until, workModule } from '../test-service.ts';

const service = new TestService();
let stopHost: () => Promise<void>;
let victims: string[] = [];
let victim = '';
let neighbor = '';

beforeAll(async () => {
  await service.start();
  stopHost = service.startHost('rack', 5);
  victims = await service.connectedDevices(5);
  neighbor = victims.pop() ?? '';
  [victim = ''] = victims;
  await service.push('tcp', '1.0.0', workModule(1));
  await service.load('tcp', '1.0.0', [...victims, neighbor]);
});
afterAll(() => service.close());

/** Runs an SQL statement without the service. */
const byHand = (text: string, ...parameters: readonly (string | Uint8Array | null)[]) => runSql(service.database, text, ...parameters);

async function restartHost(): Promise<void> {
  await stopHost();
  stopHost = service.startHost('rack', 5);
}

/** Starts a program whose calls return 2; endless by default. Returns its path. */
async function startProgram(device: string, calls: number | null = null): Promise<string> {
  const program = { module: 'tcp', export: 'work', arguments: [1], pauseMilliseconds: 1, calls };
  const { status, headers } = await service.post(`/v1/devices/${device}/programs`, program);
  expect(status).toBe(202);
  return headers.get('location') ?? '';
}

const Program = z.object({
  id: z.string(),
  state: z.string(),
  failure: z.string().nullable(),
  statistics: z.object({ callsCompleted: z.number(), callsFailed: z.number(), lastResult: z.string().nullable() }).nullable(),
});
const programAt = async (path: string) => Program.parse((await service.get(path)).body);
const idOf = (path: string) => path.split('/').at(-1) ?? '';

/** Waits until the program has completed more calls, all with the result of the signed module. */
async function isServed(path: string): Promise<void> {
  const before = (await programAt(path)).statistics?.callsCompleted ?? 0;
  const { statistics } = await until('the program is served', async () => {
    const program = await programAt(path);
    const completed = program.statistics?.callsCompleted ?? 0;
    return completed > 0 && completed !== before && program;
  });
  expect(statistics).toMatchObject({ callsFailed: 0, lastResult: '2' });
}

const driverOf = async (path: string) =>
  String((await byHand('SELECT "driverDigest" FROM "Program" WHERE "id" = ?', idOf(path)))[0]?.['driverDigest']);
const statementOf = async (digest: string) =>
  z
    .string()
    .nullable()
    .parse((await byHand('SELECT "statement" FROM "Image" WHERE "digest" = ?', digest))[0]?.['statement']);

/** Inserts a driver with a statement into the database, and attaches it to a program. */
async function attach({ bytes, digest }: ForgedImage, statement: string | null, program: string): Promise<void> {
  await byHand(
    `INSERT INTO "Image" ("digest", "bytes", "createdAt", "statement") VALUES (?, ?, ${timeInSql(1)}, ?)`,
    digest,
    bytes,
    statement,
  );
  await byHand('UPDATE "Program" SET "driverDigest" = ? WHERE "id" = ?', digest, idOf(program));
}

/** Returns a new forged driver at each call: each writes kernel memory from a different address. */
let forged = 0;
function nextForgedDriver(): ForgedImage {
  forged += 1;
  return forgedDriver('tcp', 4_096 + 8 * forged);
}

/** Returns a statement about the forged driver in the form of the service, with the target of the genuine driver. */
async function forgedStatement(genuine: string, { digest }: ForgedImage): Promise<{ payloadType: string; payload: string }> {
  const { payloadType, payload } = Envelope.parse(JSON.parse((await statementOf(genuine)) ?? ''));
  const text = Buffer.from(payload, 'base64').toString().replace(genuine.slice('sha256:'.length), digest.slice('sha256:'.length));
  return { payloadType, payload: text };
}

/** Inserts a signing key that endorses the keys of the service and itself. */
async function insertSigningKey(): Promise<string> {
  const privateKey = generatePrivateKey();
  const { keyId, pem } = derivePublicKey(privateKey);
  const [active] = await byHand('SELECT "keyId", "publicKey" FROM "SigningKey" WHERE "retiredAt" IS NULL');
  const predecessor = { keyId: String(active?.['keyId']), pem: String(active?.['publicKey']) };
  await byHand(
    `INSERT INTO "SigningKey" ("id", "keyId", "publicKey", "createdAt", "retiredAt", "endorsement", "predecessorEndorsement") VALUES (?, ?, ?, ${timeInSql(1)}, ${timeInSql(2)}, ?, ?)`,
    `sgk_${'0'.repeat(32)}`,
    keyId,
    pem,
    JSON.stringify(createEndorsement(privateKey, { keyId, pem }, new Date())),
    JSON.stringify(createEndorsement(privateKey, predecessor, new Date())),
  );
  return privateKey;
}

const forgeries: [string, RegExp, (genuine: string, image: ForgedImage) => Promise<string | null>][] = [
  ['no statement', /image sha256:\w+ has no provenance: push its source, or start its program again/, async () => null],
  [
    'the statement of the genuine driver',
    /the statement is of another driver image: expected sha256:\w+, received sha256:\w+ \(driver of tcp\.work\)/,
    (genuine) => statementOf(genuine),
  ],
  [
    'a statement by a key that was put among those of the service',
    /no key that this host trusts has signed the statement of the driver of tcp\.work/,
    async (genuine, image) => {
      const { payloadType, payload } = await forgedStatement(genuine, image);
      return JSON.stringify(createSignedEnvelope(await insertSigningKey(), payloadType, payload));
    },
  ],
  [
    'a statement under the signature of the genuine one',
    /no key that this host trusts has signed/,
    async (genuine, image) => {
      const { payload } = await forgedStatement(genuine, image);
      return JSON.stringify({ ...JSON.parse((await statementOf(genuine)) ?? ''), payload: Buffer.from(payload).toString('base64') });
    },
  ],
];

test('a restarted host refuses forged drivers with the reason, and nothing else is affected', async () => {
  const attacked: { readonly device: string; readonly path: string; readonly reason: RegExp }[] = [];
  for (const [index, [, reason, statementFor]] of forgeries.entries()) {
    const device = victims[index] ?? '';
    const path = await startProgram(device);
    const image = nextForgedDriver();
    await attach(image, await statementFor(await driverOf(path), image), path);
    attacked.push({ device, path, reason });
  }
  const others = [await startProgram(victims[0] ?? ''), await startProgram(neighbor)];
  await Promise.all([...attacked.map(({ path }) => path), ...others].map(isServed));
  await restartHost();
  for (const { device, path, reason } of attacked) {
    const { failure } = await until('the program has failed', async () => {
      const program = await programAt(path);
      return program.state === 'failed' && program;
    });
    expect(failure).toMatch(reason);
    expect((await service.get(`/v1/devices/${device}`)).body).toMatchObject({
      status: 'connected',
      moduleTable: [{ module: 'tcp', version: '1.0.0' }],
      attachFailure: expect.stringMatching(reason),
    });
    const [event] = itemsOf(await service.get(`/v1/audit?action=device.attached&object=${device}&order=desc&limit=1`));
    expect(event).toMatchObject({ outcome: 'failed', detail: { failure: expect.stringMatching(reason) } });
  }
  await Promise.all(others.map(isServed));
  expect((await service.get(`/v1/devices/${neighbor}`)).body).toMatchObject({ status: 'connected', attachFailure: null });
  expect((await service.get('/v1/health')).body).toMatchObject({
    reasons: expect.arrayContaining([
      expect.stringMatching(/^4 devices could not be restored completely after a restart of the host: rack-1 \(program tcp\.work: /),
    ]),
  });
  // Programs started after that get genuine drivers and call the signed code.
  await Promise.all(victims.map(async (device) => isServed(await startProgram(device))));
  for (const path of others) await service.post(`${path}/stop`, undefined);
});

test('an overwritten driver image is replaced when a program is started', async () => {
  const finished = await startProgram(victim, 1);
  await until('the program has ended', async () => (await programAt(finished)).state === 'finished');
  const genuine = await driverOf(finished);
  // Overwrites the genuine image under its digest.
  await byHand('UPDATE "Image" SET "bytes" = ? WHERE "digest" = ?', nextForgedDriver().bytes, genuine);
  await restartHost();
  const path = await startProgram(victim, 1);
  await until('the program has ended', async () => (await programAt(path)).state === 'finished');
  expect((await programAt(path)).statistics).toMatchObject({ callsCompleted: 1, callsFailed: 0, lastResult: '2' });
});

test('hosts can download the signed statement of a driver, which names what it calls', async () => {
  const path = await startProgram(victim, 1);
  const digest = await driverOf(path);
  const stored = readEnvelope((await statementOf(digest)) ?? '');
  expect(stored && readDriverStatement(stored)).toMatchObject({
    imageDigest: digest,
    module: 'tcp',
    export: 'work',
    type: { parameters: ['i32'], results: ['i32'] },
    addressing: 'via-table',
  });
  const [event] = itemsOf(await service.get(`/v1/audit?action=program.requested&object=${idOf(path)}`));
  expect(event).toMatchObject({ detail: { driver: digest } });
});

test('at startup, the service recompiles drivers without a statement, and signs no driver from the database', async () => {
  const [old, attacked] = [await startProgram(victim), await startProgram(neighbor)];
  await Promise.all([old, attacked].map(isServed));
  const genuine = await driverOf(old);
  const image = nextForgedDriver();
  await stopHost();
  await service.stop();
  await byHand('UPDATE "Image" SET "statement" = NULL WHERE "digest" = ?', genuine);
  await attach(image, null, attacked);
  await service.start();
  stopHost = service.startHost('rack', 5);
  await Promise.all([old, attacked].map(isServed));
  for (const path of [old, attacked]) expect(await driverOf(path)).toBe(genuine);
  expect(await statementOf(genuine)).not.toBeNull();
  expect(await statementOf(image.digest)).toBeNull();
  for (const [path, previous] of [
    [old, genuine],
    [attacked, image.digest],
  ] as const)
    expect(itemsOf(await service.get(`/v1/audit?action=program.driver-compiled&object=${idOf(path)}`))).toMatchObject([
      { actor: 'service', detail: { module: 'tcp', export: 'work', driver: genuine, previous } },
    ]);
  const compiled = itemsOf(await service.get('/v1/audit?action=program.driver-compiled'));
  await service.stop();
  await service.start();
  expect(itemsOf(await service.get('/v1/audit?action=program.driver-compiled'))).toEqual(compiled);
});
