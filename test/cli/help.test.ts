// What the commands say of themselves: help, examples, what is near to a word that is wrong, and what shells complete.

import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createWholeProgram } from '../../src/cli/program.ts';
import { environment, run, runPatchbay } from './command.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'patchbay-help-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Commands that speak to no service. */
const running = ['patchbay completion', 'patchbay serve', 'patchbay host', 'patchbay db copy'];

/** The commands that do something, by the words that lead to them. */
function commandsOf(command: CommandUnknownOpts, above: readonly string[] = []): [string, CommandUnknownOpts][] {
  const words = [...above, command.name()];
  const below = command.commands.flatMap((one) => commandsOf(one, words));
  return below.length > 0 && command.name() !== 'load' ? below : [[words.join(' '), command], ...below];
}

function helpOf(command: CommandUnknownOpts): string {
  const help: string[] = [];
  command.configureOutput({ writeOut: (text) => void help.push(text) }).outputHelp();
  return help.join('');
}

const examplesIn = (help: string) =>
  help
    .split('\nExamples:\n')[1]
    ?.trimEnd()
    .split('\n')
    .map((line) => line.trim()) ?? [];

/** The words of a command line, without where its output goes. */
const wordsOf = (line: string) =>
  [...line.replace(/ >.*/, '').matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');

test('every command says what it does, and its examples are understood', async () => {
  const names = commandsOf(await createWholeProgram()).map(([name]) => name);
  expect(names).toEqual(expect.arrayContaining(['patchbay load', 'patchbay load list', 'patchbay health', 'patchbay completion']));
  for (const name of names) {
    // A tree of its own, for parsing leaves traces.
    const help = helpOf(await commandOf(name));
    expect(help, name).toMatch(/^Usage: patchbay /);
    const examples = examplesIn(help);
    expect(examples, name).not.toEqual([]);
    for (const example of examples) {
      const program = await createWholeProgram();
      const parsed: string[] = [];
      for (const [other, command] of commandsOf(program)) command.action(() => void parsed.push(other));
      await program.parseAsync(wordsOf(example).slice(1), { from: 'user' });
      expect(parsed, example).toEqual([name]);
    }
  }
});

async function commandOf(name: string): Promise<CommandUnknownOpts> {
  const found = new Map(commandsOf(await createWholeProgram())).get(name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

test('every command that speaks to a service has the options for that', async () => {
  for (const [name, command] of commandsOf(await createWholeProgram())) {
    if (running.includes(name)) continue;
    expect(
      command.options.map(({ long }) => long),
      name,
    ).toEqual(expect.arrayContaining(['--service', '--key', '--key-file', '--config', '--json', '--no-color']));
  }
  expect(helpOf(await commandOf('patchbay load'))).toContain('  3  some loads were refused by their devices');
});

test.each([
  [['buidl', 'list'], "unknown command 'buidl'\n(Did you mean build?)\nSee --help.\n"],
  [['build', 'psh', 'x.ts'], "unknown command 'psh'\n(Did you mean push?)\nSee --help.\n"],
  [['load', '--modul', 'tcp'], "unknown option '--modul'\n(Did you mean --module?)\nSee --help.\n"],
  [['load', 'lst'], 'there is no "load lst": there is list, show, cancel, or load with its options\nSee --help.\n'],
  [['load', '--module', 'tcp', '--version', '1.0.0'], 'give either --device or --label: on which devices\nSee --help.\n'],
  [
    ['device', 'list', '--status', 'lost'],
    "option '--status <status>' argument 'lost' is invalid. Allowed choices are connected, attaching, unreachable.\nSee --help.\n",
  ],
  [['device', 'list', '--limit', '0'], '--limit is "0": give a whole number from 1 to 100000\nSee --help.\n'],
  [['device', 'list', '--label', 'north'], '--label north: write labels as key=value\nSee --help.\n'],
  [
    ['load', '--module', 'tcp', '--version', '1.0.0', '--label', 'zone=north', '--label', 'zone=south'],
    '--label zone=south: a device has one value of zone, and north is given too\nSee --help.\n',
  ],
  [['health', '--service', 'here'], '--service is "here": give an address like http://127.0.0.1:7070\nSee --help.\n'],
  [
    ['program', 'stop', 'rack-1', 'sums'],
    '"sums" is not the identifier of a program (prg_…): "patchbay program list rack-1" shows identifiers\nSee --help.\n',
  ],
  [['rollback', '--module', 'tcp', '--device', 'a'], "required option '--reason <text>' not specified\nSee --help.\n"],
  [['db', 'copy', '--to', 'postgresql://u@h/d'], "required option '--from <file>' not specified\nSee --help.\n"],
  [['serve', '7070'], "too many arguments for 'serve'. Expected 0 arguments but got 1: 7070.\nSee --help.\n"],
])('patchbay %j is a wrong command line', async (args, stderr) => {
  expect(await runPatchbay(folder, args)).toEqual({ code: 2, stdout: '', stderr });
});

test.each<[string[], Record<string, string>, string]>([
  [['serve'], { PATCHBAY_PORT: 'http' }, '--port is "http": give a whole number from 0 to 65535'],
  [['serve', '--port', 'ftp'], { PATCHBAY_PORT: '0' }, '--port is "ftp": give a whole number from 0 to 65535'],
  [['serve', '--address', '0.0.0.0'], { PATCHBAY_NO_KEYS: '1' }, '--address 0.0.0.0 can be reached from other machines'],
  [['serve'], { DATABASE_URL: 'mysql://a:b@c/d' }, '--database mysql://a:…@c/d is none that the service knows'],
  [['host'], { PATCHBAY_DEVICES: 'many' }, '--devices is "many"'],
  [['host', '--labels', 'a=1', '--labels', 'a=2'], {}, '--labels a=2: a device has one value of a, and 1 is given too'],
])('patchbay %j with %j has a wrong setting', async (args, variables, message) => {
  expect(await runPatchbay(folder, args, variables)).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(message) });
});

test('patchbay help, and a command that is none by itself, show the help', async () => {
  const [help, build] = await Promise.all([runPatchbay(folder, ['help', 'load', 'list']), runPatchbay(folder, ['build'])]);
  expect(help).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Usage: patchbay load list /), stderr: '' });
  expect(build).toMatchObject({ code: 2, stderr: expect.stringMatching(/push \[options\] <file>/) });
});

test('the launcher runs on the runtime that starts it, and on the one of the package where that is too old', async () => {
  const launcher = fileURLToPath(new URL('../../bin/patchbay.js', import.meta.url));
  // Without what npm puts before it, the path has the node that this machine's users have.
  const path = (process.env['PATH'] ?? '').split(':').filter((one) => !one.includes('node_modules'));
  const env = environment({ PATH: path.join(':') });
  const said = await Promise.all([run(process.execPath, [launcher, '--version'], { env }), run('node', [launcher, '--version'], { env })]);
  for (const one of said) expect(one).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' });
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
  const said = await run('bash', ['try.bash'], { env, cwd: folder });
  expect(said.stdout.split('\n')).toEqual([
    'build',
    'cancel',
    '--strategy',
    'drain drain-then-inject',
    '',
    'bash zsh fish -h --help',
    '',
    '--embedded-devices',
    'complete -o default -F _patchbay patchbay',
    '',
  ]);
});

test.each(['zsh', 'fish'])('what %s is given names every command', async (shell) => {
  const script = await runPatchbay(folder, ['completion', shell]);
  for (const [name] of commandsOf(await createWholeProgram())) expect(script.stdout).toContain(name.replaceAll(' ', '/'));
});
