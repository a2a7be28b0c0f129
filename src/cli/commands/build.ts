// `patchbay build`: pushes, lists, yanks and deletes builds of modules, and shows and signs their provenance.

import { extname } from 'node:path';
import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { type BuildUpload, languagesByExtension, pushBuild } from '../../client/push-build.ts';
import { UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { type CommandContext, printNote, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { collectValues, readDependencies, readInputFile } from '../option-values.ts';
import { colour } from '../terminal/colours.ts';
import { formatDiagnostic } from '../terminal/error-output.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addBuildCommands(build: Command): void {
  const push = build
    .command('push <file>')
    .description(
      'Compile a source file, and store it as a build of a module. The extension selects the language: .ts (AssemblyScript), .wat (WebAssembly text) or .wasm (prebuilt).',
    )
    .requiredOption('--module <name>', 'the module')
    .requiredOption('--version <version>', 'semantic version, or next-major, next-minor or next-patch')
    .addOption(
      new Option(
        '--concurrency <kind>',
        'whether any number of threads (shared) or one thread (exclusive) of a device may be inside the module (default: exclusive for a prebuilt module with an allocator)',
      ).choices(['shared', 'exclusive']),
    )
    .addOption(
      new Option(
        '--dependency <module=range>',
        'versions of another module that must be in memory, for example udp=^1.2.0; repeatable',
      ).argParser(collectValues),
    )
    .addOption(new Option('--enable <feature...>', 'WebAssembly features of an AssemblyScript source').choices(['simd']))
    .action((file, options, command) => runOperatorCommand(command, (context) => pushFile(context, file, options)));
  addExamples(
    push,
    'patchbay build push tcp.ts --module tcp --version 1.1.0',
    'patchbay build push tcp.wasm --module tcp --version next-minor',
    "patchbay build push dns.ts --module dns --version 1.0.0 --dependency 'udp=^1.2.0'",
  );

  const list = build
    .command('list <module>')
    .description('List the builds of a module, newest first.')
    .addOption(new Option('--yanked', 'only yanked builds').conflicts('usable'))
    .option('--usable', 'only builds that are not yanked')
    .addOption(limitOption())
    .addOption(allOption())
    .action((module, { yanked, usable, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const filter = yanked || usable ? { yanked: yanked ? ('true' as const) : ('false' as const) } : {};
        const readPage = async (page: { limit: number }) => {
          const params = { path: { module }, query: { ...page, ...filter } };
          return unwrapResponse(await context.client.GET('/v1/modules/{module}/builds', { params }));
        };
        printList(context, await readPages(options, readPage), {
          headings: ['VERSION', 'LANGUAGE', 'BYTES', 'CREATED', 'IMAGE', 'YANKED'],
          row: ({ version, language, image, createdAt, yanked: yank }) => [
            version,
            language,
            image.bytes,
            formatTime(createdAt),
            image.digest.slice(0, 19),
            yank === null ? '' : colour('red', yank.reason),
          ],
          empty: `no builds of ${module} found`,
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay build list tcp', 'patchbay build list tcp --yanked', 'patchbay build list tcp --all --json');

  const show = build
    .command('show <module> <version>')
    .description('Show a build: its image, its exports, the modules that it imports, and the modules that depend on it.')
    .action((module, version, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const params = { path: { module, version } };
        const found = unwrapResponse(await context.client.GET('/v1/modules/{module}/builds/{version}', { params }));
        printResult(context, found, () => formatBuild(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay build show tcp 1.1.0', 'patchbay build show tcp 1.1.0 --json');

  const devices = build
    .command('devices <module> <version>')
    .description('List the devices on which a build is or was installed.')
    .addOption(new Option('--installed', 'only devices on which it is installed now').conflicts('removed'))
    .option('--removed', 'only devices from which it was removed')
    .addOption(limitOption())
    .addOption(allOption())
    .action((module, version, { installed, removed, ...options }, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { module, version };
        const filter = installed || removed ? { running: installed === true } : {};
        const found = await readPages(options, async (page) => {
          const params = { path, query: { ...page, ...filter } };
          return unwrapResponse(await context.client.GET('/v1/modules/{module}/builds/{version}/devices', { params }));
        });
        printList(context, found, {
          headings: ['NAME', 'DEVICE', 'FIRST INSTALLED', 'LAST INSTALLED', 'REMOVED', 'RESIDENCIES'],
          row: ({ device, deviceName, firstInstalledAt, lastInstalledAt, removedAt, residencies }) => [
            deviceName,
            device,
            formatTime(firstInstalledAt),
            formatTime(lastInstalledAt),
            removedAt === null ? 'installed' : formatTime(removedAt),
            residencies,
          ],
          empty: 'no devices found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(devices, 'patchbay build devices tcp 1.1.0 --installed', 'patchbay build devices tcp 1.0.0 --removed --all --json');
  const provenance = build
    .command('provenance <module> <version>')
    .description('Show the provenance of a build, and the keys that signed it. With --json, print the envelope (DSSE).')
    .action((module, version, _options, command) =>
      runOperatorCommand(command, async (context) => (await loadProvenance()).showProvenance(context, module, version)),
    );
  addExamples(provenance, 'patchbay build provenance tcp 1.1.0', 'patchbay build provenance tcp 1.1.0 --json > tcp-1.1.0.dsse.json');

  const sign = build
    .command('sign <module> <version>')
    .description('Sign the provenance of a build as a publisher. The private key does not leave this machine.')
    .requiredOption('--signing-key <file>', 'Ed25519 private key in PEM, as written by "openssl genpkey -algorithm ed25519"')
    .option('--source <file>', 'sign only if the build was compiled from this file')
    .action((module, version, { signingKey: keyFile, source: sourceFile }, command) =>
      runOperatorCommand(command, async (context) => (await loadProvenance()).signBuild(context, { module, version, keyFile, sourceFile })),
    );
  addExamples(sign, 'patchbay build sign tcp 1.1.0 --signing-key release-team.pem --source tcp.ts');
  addLifecycleCommands(build);
}

function addLifecycleCommands(build: Command): void {
  const yank = build
    .command('yank <module> <version>')
    .description(
      'Stop all new use of a build: loads, rollouts, patch sets and rollbacks to it. Devices that have it keep it. Undo with "build unyank".',
    )
    .requiredOption('--reason <text>', 'reason, shown wherever the build is rejected')
    .action((module, version, { reason }, command) =>
      runOperatorCommand(command, async (context) => {
        const call = { params: { path: { module, version } }, body: { reason } };
        const yanked = unwrapResponse(await context.client.POST('/v1/modules/{module}/builds/{version}/yank', call));
        printResult(context, yanked, () => [`yanked ${module}@${version}: ${yanked.yanked?.reason ?? reason}`]);
        return exitCodes.success;
      }),
    );
  addExamples(yank, 'patchbay build yank tcp 1.1.0 --reason "it drops packets under load"');

  const unyank = build
    .command('unyank <module> <version>')
    .description('Make a yanked build usable again. Rollouts that paused because of it remain paused: resume them.')
    .action((module, version, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const call = { params: { path: { module, version } } };
        const usable = unwrapResponse(await context.client.POST('/v1/modules/{module}/builds/{version}/unyank', call));
        printResult(context, usable, () => [`${module}@${version} is usable again`]);
        return exitCodes.success;
      }),
    );
  addExamples(unyank, 'patchbay build unyank tcp 1.1.0');

  const remove = build
    .command('delete <module> <version>')
    .description('Delete a build that no device ever had and that no load, rollout or patch set names. Its version is free again.')
    .action((module, version, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const call = { params: { path: { module, version } } };
        assertSuccess(await context.client.DELETE('/v1/modules/{module}/builds/{version}', call));
        printResult(context, { module, version }, () => [`deleted ${module}@${version}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay build delete tcp 1.1.0-rc.1');
}

function formatBuild({ id, module, version, language, image, hasState, interface: types, ...build }: Schemas['BuildDetail']): string[] {
  const { createdAt, imports, dependents, yanked } = build;
  const required = imports.map((each) => [each.module, each.range ?? '-', each.exports.join(', ') || '-']);
  const dependent = dependents.map((each) => [each.module, each.version, each.range ?? '-', each.resolved ? 'yes' : colour('red', 'no')]);
  return [
    `${module}@${version}  ${id}`,
    `language   ${language}`,
    `image      ${image.digest}, ${image.bytes} bytes${image.prunedAt === null ? '' : `, pruned ${formatTime(image.prunedAt)}`}`,
    `created    ${formatTime(createdAt)}`,
    ...(yanked === null ? [] : [colour('red', `yanked     ${formatTime(yanked.at)} by ${yanked.by}: ${yanked.reason}`)]),
    `state      ${hasState === null ? 'unknown' : hasState ? 'yes' : 'none'}`,
    `exports    ${types.exports.map(({ name }) => name).join(', ') || '-'}`,
    '',
    ...(required.length === 0 ? ['imports no module'] : formatTable(['IMPORTS', 'RANGE', 'EXPORTS'], required)),
    '',
    ...(dependent.length === 0 ? ['no module depends on it'] : formatTable(['DEPENDENT', 'VERSION', 'RANGE', 'RESOLVED'], dependent)),
  ];
}

/** Loaded only when needed: its schemas are slow to load. */
const loadProvenance = () => import('../operator/build-provenance.ts');

type PushOptions = Pick<BuildUpload, 'module' | 'version' | 'concurrency'> & {
  readonly enable?: BuildUpload['features'];
  readonly dependency?: readonly string[];
};

async function pushFile(context: CommandContext, file: string, { enable, dependency, ...options }: PushOptions): Promise<ExitCode> {
  const language = languagesByExtension.get(extname(file));
  if (language === undefined)
    throw new UsageError(
      `${file}: expected a file with the extension ${[...languagesByExtension.keys()].join(', ')}; compile C, Rust and other languages to .wasm first`,
    );
  const dependencies = dependency && readDependencies(dependency);
  const upload = { ...options, language, content: readInputFile(file), features: enable, dependencies };
  const build = await pushBuild(context.client, upload).catch((error: unknown) => {
    throw error instanceof ResponseError ? withFileName(error, file) : error;
  });
  for (const warning of build.warnings) printNote(context, formatDiagnostic({ ...warning, file }));
  printResult(context, build, () => [`pushed ${build.module}@${build.version}: ${build.image.bytes} bytes, compiled by ${build.compiler}`]);
  return exitCodes.success;
}

/** Returns the error with the name of the pushed file in its diagnostics. */
function withFileName(error: ResponseError, file: string): ResponseError {
  const { status, problem } = error;
  if (problem?.diagnostics === undefined) return error;
  return new ResponseError(status, { ...problem, diagnostics: problem.diagnostics.map((found) => ({ ...found, file })) });
}
