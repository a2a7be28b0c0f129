// Errors of all commands: each is printed once, in terms of commands and options, and with --json as one JSON object.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { describeInCommandTerms, optionOf } from '../../src/cli/operator/request-fields.ts';
import { createWholeProgram } from '../../src/cli/program.ts';
import { PatchbayProcess } from '../../src/cli/running/patchbay-process.ts';
import { inParallel } from '../system/chaos/async.ts';
import { type CommandResult, runPatchbay } from './command.ts';
import { createCommand, listCommands, readExamples, readHelp, serviceCommands, splitWords } from './commands.ts';

/** Processes at once. */
const concurrency = 4;

let folder: string;
let server: Server | null = null;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchbay-errors-'));
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  writeFileSync(join(folder, 'release-team.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  for (const name of ['release-team.pub', 'service.pem'])
    writeFileSync(join(folder, name), publicKey.export({ format: 'pem', type: 'spki' }));
  writeFileSync(join(folder, 'tcp.ts'), 'export function checksum(length: i32): i32 { return length; }');
});
afterEach(() => {
  server?.close();
  server?.closeAllConnections();
  server = null;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const Report = z.strictObject({
  type: z.string().startsWith('urn:patchbay:'),
  title: z.string(),
  detail: z.string(),
  status: z.int().optional(),
  instance: z.string().optional(),
  errors: z.array(z.strictObject({ option: z.string(), detail: z.string() })).optional(),
  diagnostics: z.array(z.looseObject({ message: z.string() })).optional(),
  hints: z.array(z.string()).optional(),
});

/** What no error may contain: paths and methods of the API, and pointers into a request. */
const apiTerms = /\/v1\b|\b(?:GET|POST|PUT|PATCH|DELETE)\b|Idempotency-Key|\bbody \/|(?:^|\s)\/(?:version|module|labels|devices|waves)\b/;

/** Checks that standard error has one error for people. */
function expectOneError({ stdout, stderr }: CommandResult, subject: string): void {
  expect(stdout, subject).toBe('');
  const lines = stderr.trimEnd().split('\n');
  expect(
    lines.filter((line) => line.startsWith('error: ')),
    `${subject}: ${stderr}`,
  ).toHaveLength(1);
  expect(lines[0], subject).toMatch(/^error: \S/);
  expect(stderr, subject).not.toMatch(apiTerms);
  expect(stderr, subject).not.toMatch(/^\s+at .*:\d+:\d+\)?$/m);
}

/** Checks that standard error has one error as JSON, and returns it. */
function expectOneReport({ stdout, stderr }: Pick<CommandResult, 'stdout' | 'stderr'>, subject: string): z.infer<typeof Report> {
  expect(stdout, subject).toBe('');
  expect(stderr.split('\n'), subject).toEqual([expect.any(String), '']);
  expect(stderr, subject).not.toMatch(apiTerms);
  const report = Report.safeParse(JSON.parse(stderr));
  expect(report.error, `${subject}: ${stderr}`).toBeUndefined();
  return Report.parse(report.data);
}

async function listen(listener: RequestListener): Promise<string> {
  const listening = createServer(listener);
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
}

/** Returns the URL of a port that no process listens on. */
async function unreachableUrl(): Promise<string> {
  const url = await listen(() => {});
  server?.close();
  return url;
}

const respondWith =
  (status: number, body: unknown): RequestListener =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body));

test('every command reports a usage error once, and with --json as one JSON object', { timeout: 300_000 }, async () => {
  const paths = listCommands(await createWholeProgram()).map(([path]) => path);
  expect(paths.length).toBeGreaterThan(40);
  await inParallel(paths, concurrency, async (path) => {
    const words = [...path.split(' ').slice(1), '--no-such-option'];
    const [text, json] = [await runPatchbay(folder, words), await runPatchbay(folder, [...words, '--json'])];
    expect([text.code, json.code], path).toEqual([2, 2]);
    expectOneError(text, path);
    // A missing required option is reported before an unknown option.
    const [, detail = ''] = /^error: ((?:unknown|required) option '.*)\nhint: /.exec(text.stderr) ?? [];
    const hint = `see "${path} --help"`;
    expect(text.stderr).toBe(`error: ${detail}\nhint: ${hint}\n`);
    expect(expectOneReport(json, path)).toEqual({
      type: 'urn:patchbay:cli:usage',
      title: 'Invalid command line',
      detail,
      hints: [hint],
    });
  });
});

test('every group of commands reports a missing and an unknown subcommand', { timeout: 120_000 }, async () => {
  const groups = (await createWholeProgram()).commands.filter((command) => command.commands.length > 0 && command.name() !== 'load');
  await inParallel(groups, concurrency, async (group) => {
    const name = group.name();
    const [missing, unknown] = [await runPatchbay(folder, [name]), await runPatchbay(folder, [name, 'no-such-command', '--json'])];
    expect([missing.code, unknown.code], name).toEqual([2, 2]);
    expectOneError(missing, name);
    const names = group.commands.map((command) => command.name()).join(', ');
    expect(missing.stderr).toBe(`error: "patchbay ${name}" requires a subcommand: ${names}\nhint: see "patchbay ${name} --help"\n`);
    expect(expectOneReport(unknown, name).detail).toMatch(/^unknown command 'no-such-command'/);
  });
});

test('every operator command reports an unreachable service once, and with --json as one JSON object', { timeout: 300_000 }, async () => {
  const url = await unreachableUrl();
  const environment = { PATCHBAY_SERVICE: url };
  const paths = listCommands(await createWholeProgram())
    .map(([path]) => path)
    .filter((path) => !serviceCommands.includes(path));
  await inParallel(paths, 2 * concurrency, async (path) => {
    const [example = ''] = readExamples(readHelp(await createCommand(path)));
    const words = splitWords(example)
      .slice(1)
      .filter((word) => word !== '--json');
    const [text, json] = await Promise.all([
      runPatchbay(folder, words, environment),
      runPatchbay(folder, [...words, '--json'], environment),
    ]);
    expect([text.code, json.code], path).toEqual([1, 1]);
    expectOneError(text, path);
    expect(text.stderr).toMatch(`error: no service is reachable at ${url} (ECONNREFUSED)\nhint: start the service with "patchbay serve"`);
    expect(expectOneReport(json, path)).toMatchObject({
      type: 'urn:patchbay:cli:unreachable',
      detail: `no service is reachable at ${url} (ECONNREFUSED)`,
    });
  });
});

test.each<[string, string[], string]>([
  ['key file', ['health', '--key-file', 'missing'], 'cannot read the API key from missing (--key-file): ENOENT'],
  ['configuration file', ['health', '--config', 'missing'], 'cannot read --config missing: ENOENT'],
  ['source file', ['build', 'push', 'missing.wat', '--module', 'tcp', '--version', '1.0.0'], 'cannot read missing.wat: ENOENT'],
  ['folder', ['build', 'sign', 'tcp', '1.0.0', '--signing-key', '.'], 'cannot read --signing-key .: EISDIR'],
  ['export', ['audit', 'verify', 'missing', '--public-key', 'service.pem'], 'cannot read missing: ENOENT'],
  ['token file', ['host', '--token-file', 'missing'], 'cannot read the join token from missing: give it with --token-file'],
  ['database file', ['db', 'copy', '--from', 'missing', '--to', 'postgresql://u@127.0.0.1/d'], '--from: there is no file missing'],
])('an unreadable %s is reported once, and with --json as one JSON object', async (_name, words, message) => {
  const [text, json] = await Promise.all([runPatchbay(folder, words), runPatchbay(folder, [...words, '--json'])]);
  expectOneError(text, message);
  expect(text.stderr).toContain(`error: ${message}`);
  expect(expectOneReport(json, message).detail).toContain(message);
  expect(json.code).toBe(text.code);
});

test('invalid values of a request are reported as options', async () => {
  const problem = {
    type: 'urn:patchbay:problem:invalid-value',
    title: 'Invalid value',
    status: 422,
    detail: 'body /version: "1.x" is not a semantic version; body /labels/zone: too long',
    instance: 'req_1',
    errors: [
      { in: 'body', pointer: '/version', detail: '"1.x" is not a semantic version' },
      { in: 'body', pointer: '/labels/zone', detail: 'expected at most 63 characters' },
    ],
  };
  const url = await listen(respondWith(422, problem));
  const words = ['load', '--no-wait', '--module', 'tcp', '--version', '1.x', '--label', 'zone=north', '--service', url];
  const [text, json] = await Promise.all([runPatchbay(folder, words), runPatchbay(folder, [...words, '--json'])]);
  expect(text).toEqual({
    code: 1,
    stdout: '',
    stderr:
      'error: Invalid value\n  --version: "1.x" is not a semantic version\n  --label zone: expected at most 63 characters\nrequest: req_1\n',
  });
  expect(expectOneReport(json, 'load')).toEqual({
    type: problem.type,
    title: problem.title,
    status: 422,
    instance: 'req_1',
    detail: '--version: "1.x" is not a semantic version; --label zone: expected at most 63 characters',
    errors: [
      { option: '--version', detail: '"1.x" is not a semantic version' },
      { option: '--label zone', detail: 'expected at most 63 characters' },
    ],
  });
});

/** The command that sends each request. */
const commandsOfRequests = {
  NewLoads: 'patchbay load',
  NewRollback: 'patchbay rollback',
  NewRollout: 'patchbay rollout create',
  NewProgram: 'patchbay program start',
  NewBuild: 'patchbay build push',
  NewSignature: 'patchbay build sign',
  NewKey: 'patchbay key create',
  NewPublisherKey: 'patchbay publisher-key add',
  NewSignaturePolicy: 'patchbay signature-policy add',
} as const;

const Properties = z.object({ properties: z.record(z.string(), z.looseObject({})) });
const Document = z.object({ components: z.object({ schemas: z.record(z.string(), z.unknown()) }) });
const { schemas } = Document.parse(JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'))).components;
const propertiesOf = (schema: string) => Object.keys(Properties.parse(schemas[schema]).properties);

test.each(Object.entries(commandsOfRequests))('every field of %s has an option of "%s"', async (schema, path) => {
  const command = await createCommand(path);
  for (const field of propertiesOf(schema)) {
    if (field === 'thresholds') continue;
    expect(optionOf(command, { pointer: `/${field}` }), field).toMatch(/^(?:--[a-z-]+|<[a-z]+>)$/);
  }
});

test('every threshold of a rollout has an option', async () => {
  const command = await createCommand('patchbay rollout create');
  for (const field of propertiesOf('NewThresholds'))
    expect(optionOf(command, { pointer: `/thresholds/${field}` }), field).toMatch(/^--[a-z-]+$/);
  expect(optionOf(command, { pointer: '/waves/1/soakSeconds' })).toBe('--wave 2');
});

test('messages of the service name commands and options instead of calls and fields', async () => {
  const command = await createCommand('patchbay load');
  const Paths = z.object({ paths: z.record(z.string(), z.record(z.string(), z.looseObject({}))) });
  const { paths } = Paths.parse(JSON.parse(readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8')));
  for (const [path, methods] of Object.entries(paths))
    for (const method of Object.keys(methods)) {
      const call = `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase())}`;
      expect(describeInCommandTerms(`not found: \`${call}\` lists them, see ${path}.`, command)).not.toMatch(/\/v1|[A-Z]+ \/|`/);
    }
  expect(describeInCommandTerms('there is no host a: GET /v1/devices lists devices', command)).toBe(
    'there is no host a: "patchbay device list" lists devices',
  );
  expect(describeInCommandTerms('give `drainMilliseconds` with a drain strategy', command)).toBe(
    'give --drain-milliseconds with a drain strategy',
  );
  const create = await createCommand('patchbay rollout create');
  expect(describeInCommandTerms('the last wave must be { "upToPercent": 100 }', create)).toBe('the last wave must be 100%');
  expect(describeInCommandTerms('wait, or set "onConflict": "queue"', create)).toBe('wait, or set --on-conflict queue');
  expect(describeInCommandTerms('"downgradeReason" is required, "1.x" is no version', create)).toBe(
    '--reason is required, "1.x" is no version',
  );
});

test('the interruption of a wait is reported once, with the command that shows the loads', async () => {
  const batch = `bat_${'0'.repeat(32)}`;
  const unreachableDevices = { count: 0, skipped: 0, devices: [] };
  const url = await listen((request, response) => {
    const respond = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.method === 'POST') respond(202, { batch, loads: [{ id: `lod_${'0'.repeat(32)}`, version: '1.0.0' }], unreachableDevices });
    else if (request.url?.startsWith('/v1/events')) response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n');
    else respond(200, { items: [], next: null });
  });
  const words = ['load', '--module', 'tcp', '--version', '1.0.0', '--label', 'zone=north', '--service', url];
  const following = () =>
    new Promise((resolve) => server?.on('request', ({ url: path }) => path?.startsWith('/v1/events') && resolve(null)));
  for (const flags of [[], ['--json']]) {
    const connected = following();
    const command = new PatchbayProcess('patchbay load', [...words, ...flags]);
    await connected;
    expect(await command.stop('SIGINT')).toBe(130);
    const hint = `the loads continue: patchbay load list --batch ${batch}`;
    if (flags.length === 0) expect(command.lastLines).toBe(`waiting for 1 load in batch ${batch}\nerror: interrupted\nhint: ${hint}`);
    else
      expect(expectOneReport({ stdout: '', stderr: `${command.lastLines}\n` }, 'load')).toEqual({
        type: 'urn:patchbay:cli:interrupted',
        title: 'Interrupted',
        detail: 'interrupted',
        hints: [hint],
      });
  }
});
