// Help, examples, usage errors and shell completion.

import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createWholeProgram } from '../../src/cli/program.ts';
import { environment, run, runPatchbay } from './command.ts';
import { createCommand, listCommands, readExamples, readHelp, serviceCommands, splitWords } from './commands.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchbay-help-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('every command has a help text, and its examples are valid', async () => {
  const paths = listCommands(await createWholeProgram()).map(([name]) => name);
  expect(paths).toEqual(expect.arrayContaining(['patchbay load', 'patchbay load list', 'patchbay health', 'patchbay completion']));
  for (const path of paths) {
    const help = readHelp(await createCommand(path));
    expect(help, path).toMatch(/^Usage: patchbay /);
    const examples = readExamples(help);
    expect(examples, path).not.toEqual([]);
    for (const example of examples) {
      const program = await createWholeProgram();
      const parsed: string[] = [];
      for (const [other, command] of listCommands(program)) command.action(() => void parsed.push(other));
      await program.parseAsync(splitWords(example).slice(1), { from: 'user' });
      expect(parsed, example).toEqual([path]);
    }
  }
});

test('every operator command has the common options', async () => {
  for (const [name, command] of listCommands(await createWholeProgram())) {
    if (serviceCommands.includes(name)) continue;
    expect(
      command.options.map(({ long }) => long),
      name,
    ).toEqual(expect.arrayContaining(['--service', '--key', '--key-file', '--config', '--json', '--no-color']));
  }
  expect(readHelp(await createCommand('patchbay load'))).toContain('  3  devices refused some loads');
});

test.each([
  [['buidl', 'list'], "unknown command 'buidl' (Did you mean build?)", 'patchbay'],
  [['build', 'psh', 'x.ts'], "unknown command 'psh' (Did you mean push?)", 'patchbay build'],
  [['load', '--modul', 'tcp'], "unknown option '--modul' (Did you mean --module?)", 'patchbay load'],
  [['load', 'lst'], 'unknown command "load lst": expected list, show, watch, inject, cancel, or load with options', 'patchbay load'],
  [
    ['load', '--module', 'tcp', '--version', '1.0.0'],
    'select devices with either --device, or one or more of --label, --selector and --group',
    'patchbay load',
  ],
  [
    ['device', 'list', '--status', 'lost'],
    "option '--status <status>' argument 'lost' is invalid. Allowed choices are connected, attaching, unreachable, decommissioned.",
    'patchbay device list',
  ],
  [['device', 'list', '--limit', '0'], '--limit: expected a whole number from 1 to 100000, received "0"', 'patchbay device list'],
  [['--json=x', 'device', 'list'], "unknown option '--json=x' (Did you mean --json?)", 'patchbay device list'],
  [['device', 'list', '--label', 'north'], '--label: expected key=value, received "north"', 'patchbay device list'],
  [
    ['load', '--module', 'tcp', '--version', '1.0.0', '--label', 'zone=north', '--label', 'zone=south'],
    '--label: conflicting values for the label zone: "north" and "south"',
    'patchbay load',
  ],
  [['device', 'list', '-l', 'zone in north'], '--selector: at character 9: expected "(", received "north"', 'patchbay device list'],
  [
    ['load', '--module', 'tcp', '--version', '1.0.0', '--selector', ''],
    '--selector: at character 1: expected a label key or "!", received the end of the selector',
    'patchbay load',
  ],
  [['--service', 'here', 'health'], '--service: expected a URL like http://127.0.0.1:7070, received "here"', 'patchbay health'],
  [
    ['program', 'stop', 'rack-1', 'sums'],
    'expected the identifier of a program (prg_…), received "sums": "patchbay program list rack-1" lists programs',
    'patchbay program stop',
  ],
  [['unload', 'tcp', '--device', 'a', '--force'], '--force and --reason require each other', 'patchbay unload'],
  [['rollback', '--module', 'tcp', '--device', 'a'], "required option '--reason <text>' not specified", 'patchbay rollback'],
  [['db', 'copy', '--to', 'postgresql://u@h/d'], "required option '--from <file>' not specified", 'patchbay db copy'],
  [['serve', '7070'], "too many arguments for 'serve'. Expected 0 arguments but got 1: 7070.", 'patchbay serve'],
])('patchbay %j is a usage error', async (args, message, command) => {
  expect(await runPatchbay(folder, args)).toEqual({ code: 2, stdout: '', stderr: `error: ${message}\nhint: see "${command} --help"\n` });
});

test.each<[string[], Record<string, string>, string]>([
  [['serve'], { PATCHBAY_PORT: 'http' }, '--port: expected a whole number from 0 to 65535, received "http"'],
  [['serve', '--port', 'ftp'], { PATCHBAY_PORT: '0' }, '--port: expected a whole number from 0 to 65535, received "ftp"'],
  [
    ['serve'],
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    'OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL such as http://127.0.0.1:4318, received "collector:4318"',
  ],
  [['serve'], { OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER: expected otlp or none, received "zipkin"'],
  [
    ['host'],
    { PATCHBAY_TOKEN: 'sixteen-characters', OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf or http/json, received "grpc"',
  ],
  [
    ['host'],
    {
      PATCHBAY_TOKEN: 'sixteen-characters',
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_TRACES_SAMPLER: 'traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '2',
    },
    'OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, received "2"',
  ],
  [['serve', '--keep-loads', '90'], {}, '--keep-loads: the loads that the history names are kept, so also limit the history'],
  [['serve', '--max-loads', '0'], {}, '--max-loads'],
  [['serve', '--address', '0.0.0.0'], { PATCHBAY_NO_KEYS: '1' }, '--no-keys cannot be combined with --address 0.0.0.0: other machines'],
  [['serve'], { DATABASE_URL: 'mysql://a:b@c/d' }, '--database: expected a file or postgresql://…, received "mysql://a:…@c/d"'],
  [['host'], { PATCHBAY_DEVICES: 'many' }, '--devices: expected a whole number'],
  [['host', '--labels', 'a=1', '--labels', 'a=2'], {}, '--labels: conflicting values for the label a: "1" and "2"'],
])('patchbay %j rejects the setting %j', async (args, variables, message) => {
  expect(await runPatchbay(folder, args, variables)).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(`error: ${message}`) });
});

test('patchbay help prints the help of a command', async () => {
  const help = await runPatchbay(folder, ['help', 'load', 'list']);
  expect(help).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: patchbay load list /), stderr: '' });
});

test('the launcher uses the Node that starts it, or the packaged Node if that is too old', async () => {
  const launcher = fileURLToPath(new URL('../../bin/patchbay.js', import.meta.url));
  // Without the folders that npm prepends, PATH has the Node of this machine.
  const path = (process.env['PATH'] ?? '').split(':').filter((entry) => !entry.includes('node_modules'));
  const env = environment({ PATH: path.join(':') });
  const results = await Promise.all([
    run(process.execPath, [launcher, '--version'], { env }),
    run('node', [launcher, '--version'], { env }),
  ]);
  for (const result of results) expect(result).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' });
  expect(await run('node', [launcher, 'buidl'], { env })).toMatchObject({ code: 2 });
});

test('bash completes commands, options and their values', async () => {
  const script = await runPatchbay(folder, ['completion', 'bash']);
  expect(script).toMatchObject({ code: 0, stderr: '' });
  writeFileSync(join(folder, 'completion.bash'), script.stdout);
  const complete = (...words: string[]) =>
    `COMP_WORDS=(patchbay ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; COMPREPLY=(); _patchbay; echo "\${COMPREPLY[*]}"`;
  const lines = [
    'source completion.bash',
    complete('b'),
    complete('--service', 'build', 'load', 'c'),
    complete('load', '--str'),
    complete('load', '--strategy', 'd'),
    complete('load', 'list', '--strategy'),
    complete('completion', ''),
    complete('build', 'push', '--key-file', ''),
    complete('serve', '--port', '0', '--em'),
    'complete -p patchbay',
  ];
  writeFileSync(join(folder, 'try.bash'), lines.join('\n'));
  const env = environment({});
  expect(await run('bash', ['-n', 'completion.bash'], { env, cwd: folder })).toEqual({ code: 0, stdout: '', stderr: '' });
  const result = await run('bash', ['try.bash'], { env, cwd: folder });
  expect(result.stdout.split('\n')).toEqual([
    'build',
    'cancel',
    '--strategy',
    'drain drain-then-inject',
    '',
    'bash zsh fish --json -h --help',
    '',
    '--embedded-devices',
    'complete -o default -F _patchbay patchbay',
    '',
  ]);
});

test.each(['zsh', 'fish'])('the %s completion script contains every command', async (shell) => {
  const script = await runPatchbay(folder, ['completion', shell]);
  for (const [path] of listCommands(await createWholeProgram())) expect(script.stdout).toContain(path.replaceAll(' ', '/'));
});
