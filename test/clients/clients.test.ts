// Clients generated from the OpenAPI document: their types are complete and strict, and each performs the main job on a real service.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { joinToken, prebuiltModule, TestService } from '../service/test-service.ts';
import { clientNames, compileClients, generateClients } from './generators.ts';

const run = promisify(execFile);
const service = new TestService();
const folder = mkdtempSync(join(tmpdir(), 'patchbay-clients-'));
/** `work(n)` stays inside the module for n milliseconds, and returns the number of the version. */
const sleepingModule = (number: number) => `
  (module
    (import "kernel" "sleep" (func $sleep (param i32)))
    (func (export "work") (param $milliseconds i32) (result i32)
      (call $sleep (local.get $milliseconds))
      (i32.const ${number})))`;
let devices: readonly string[];
let compiled: ReturnType<typeof compileClients>;

beforeAll(async () => {
  await service.start();
  service.startHost('rack', clientNames.length);
  [devices] = await Promise.all([service.connectedDevices(clientNames.length), generateClients(folder)]);
  compiled = compileClients(folder);
}, 300_000);
afterAll(async () => {
  await service.close();
  rmSync(folder, { recursive: true, force: true });
});

test('the clients, and strict programs that use them, have no type errors', () => {
  expect(compiled.errors).toEqual([]);
});

test('no type generated from the document is any or unknown', () => {
  // Code of hey-api that does not depend on the document.
  const runtimeFiles = /\/hey-api\/generated\/(client|core)\//;
  const files = compiled.program
    .getSourceFiles()
    .filter(({ fileName }) => fileName.includes('/generated/') && !runtimeFiles.test(fileName));
  for (const name of clientNames) expect(files.filter(({ fileName }) => fileName.includes(`/${name}/`)).length).toBeGreaterThan(0);
  expect(files.flatMap(untypedIn)).toEqual([]);
});

/** Types that generators write for arbitrary headers, and for their own options. */
const generatorTypes = ['[name: string]: unknown;', 'TResponse = unknown', 'Record<string, unknown>'];

function untypedIn(file: ts.SourceFile): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const text = [ts.SyntaxKind.AnyKeyword, ts.SyntaxKind.UnknownKeyword].includes(node.kind) ? node.parent.getText(file) : null;
    if (text !== null && !generatorTypes.includes(text)) found.push(`${file.fileName}: ${text}`);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test.each(clientNames.map((name, index) => [name, index] as const))(
  'the client of %s patches a module with running calls',
  async (name, index) => {
    const { stdout } = await run(process.execPath, [join(folder, 'compiled', name, 'program.js')], {
      env: {
        ...process.env,
        PATCHBAY_URL: service.url,
        PATCHBAY_KEY: service.key,
        PATCHBAY_JOIN_TOKEN: joinToken,
        PATCHBAY_DEVICE: devices[index],
        PATCHBAY_MODULE: name,
        PATCHBAY_OLD_SOURCE: sleepingModule(1),
        PATCHBAY_NEW_SOURCE: sleepingModule(2),
        PATCHBAY_IMAGE: Buffer.from(prebuiltModule).toString('hex'),
      },
    });
    expect(JSON.parse(stdout)).toEqual({
      outcome: 'replaced-interrupting',
      interrupted: 2,
      retried: 2,
      steps: [
        'received true',
        'looked-up 1.0.0',
        'compared newer',
        'linked ',
        'loaded none',
        'table-updated true',
        'checked-references 2',
        'interrupted 1',
        'references-reset 2',
        'invalidated nx',
        'completed replaced-interrupting',
      ],
      history: ['1.1.0', '1.0.0'],
      audit: ['load.completed'],
      problem: { type: 'urn:patchbay:problem:invalid-value', pointers: ['/version'] },
      prebuilt: name === 'oazapfts' ? null : expect.stringMatching(/^sha256:/),
      orders: [`attach of-${name} with 0 modules`],
    });
  },
);
