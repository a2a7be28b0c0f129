// `patchbay build`: builds of modules are pushed and listed, and it is shown and signed where they came from.

import console from 'node:console';
import { extname } from 'node:path';
import { type Command, Option } from '@commander-js/extra-typings';
import { ResponseError, unwrapResponse } from '../../client/client.ts';
import { type BuildUpload, languagesByExtension, pushBuild } from '../../client/push-build.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import { type CommandContext, printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { readInputFile, UsageError } from '../option-values.ts';
import { formatDiagnostic } from '../terminal/failure.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addBuildCommands(build: Command): void {
  const push = build
    .command('push <file>')
    .description(
      'Compile a source and store it as a build of a module. The extension gives the language: .ts (AssemblyScript), .wat (WebAssembly text) or .wasm (prebuilt).',
    )
    .requiredOption('--module <name>', 'the module')
    .requiredOption('--version <version>', 'semantic version of the build, or next-major, next-minor or next-patch')
    .addOption(
      new Option(
        '--concurrency <kind>',
        'how many threads of a device may be inside the module: any number, or one (default: exclusive for a prebuilt module with an allocator)',
      ).choices(['shared', 'exclusive']),
    )
    .addOption(new Option('--enable <feature...>', 'WebAssembly features for an AssemblyScript source').choices(['simd']))
    .action((file, options, command) => runOperatorCommand(command, (operator) => pushFile(operator, file, options)));
  addExamples(
    push,
    'patchbay build push tcp.ts --module tcp --version 1.1.0',
    'patchbay build push tcp.wasm --module tcp --version next-minor',
  );

  const list = build
    .command('list <module>')
    .description('List the builds of a module, the newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((module, options, command) =>
      runOperatorCommand(command, async (operator) => {
        const ask = async (query: { limit: number }) =>
          unwrapResponse(await operator.client.GET('/v1/modules/{module}/builds', { params: { path: { module }, query } }));
        printList(operator, await readPages(options, ask), {
          headings: ['VERSION', 'LANGUAGE', 'BYTES', 'CREATED', 'IMAGE'],
          row: ({ version, language, image, createdAt }) => [
            version,
            language,
            image.bytes,
            formatTime(createdAt),
            image.digest.slice(0, 19),
          ],
          none: `there are no builds of ${module}`,
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay build list tcp', 'patchbay build list tcp --all --json');

  const devices = build
    .command('devices <module> <version>')
    .description('List the devices that run a build, or ran it before.')
    .addOption(new Option('--running', 'only devices that have it in memory now').conflicts('gone'))
    .option('--gone', 'only devices that had it and do not now')
    .addOption(limitOption())
    .addOption(allOption())
    .action((module, version, { running, gone, ...options }, command) =>
      runOperatorCommand(command, async (operator) => {
        const path = { module, version };
        const filter = running || gone ? { running: running === true } : {};
        const found = await readPages(options, async (page) => {
          const params = { path, query: { ...page, ...filter } };
          return unwrapResponse(await operator.client.GET('/v1/modules/{module}/builds/{version}/devices', { params }));
        });
        printList(operator, found, {
          headings: ['NAME', 'DEVICE', 'FIRST ENTERED', 'LAST ENTERED', 'LEFT', 'STAYS'],
          row: (one) => [
            one.deviceName,
            one.device,
            formatTime(one.firstInstalledAt),
            formatTime(one.lastInstalledAt),
            one.removedAt === null ? 'in memory' : formatTime(one.removedAt),
            one.residencies,
          ],
          none: 'there are no such devices',
        });
        return exitCodes.success;
      }),
    );
  addExamples(devices, 'patchbay build devices tcp 1.1.0 --running', 'patchbay build devices tcp 1.0.0 --gone --all --json');
  const provenance = build
    .command('provenance <module> <version>')
    .description('Show what the service states of where a build came from, and who has signed it; with --json, the envelope (DSSE).')
    .action((module, version, _options, command) =>
      runOperatorCommand(command, async (operator) => (await proving()).showProvenance(operator, module, version)),
    );
  addExamples(provenance, 'patchbay build provenance tcp 1.1.0', 'patchbay build provenance tcp 1.1.0 --json > tcp-1.1.0.dsse.json');

  const sign = build
    .command('sign <module> <version>')
    .description('Put the signature of a publisher to a build, under what the service states of it. The private key stays here.')
    .requiredOption('--signing-key <file>', 'the Ed25519 private key in PEM, as "openssl genpkey -algorithm ed25519" writes it')
    .option('--source <file>', 'sign only if this is what was compiled')
    .action((module, version, { signingKey: keyFile, source: sourceFile }, command) =>
      runOperatorCommand(command, async (operator) => (await proving()).signBuild(operator, { module, version, keyFile, sourceFile })),
    );
  addExamples(sign, 'patchbay build sign tcp 1.1.0 --signing-key release-team.pem --source tcp.ts');
}

/** Its schemas are slow to load, and the other commands have no need of them. */
const proving = () => import('../operator/build-provenance.ts');

type PushOptions = Pick<BuildUpload, 'module' | 'version' | 'concurrency'> & { readonly enable?: BuildUpload['features'] };

async function pushFile(operator: CommandContext, file: string, { enable, ...options }: PushOptions): Promise<ExitCode> {
  const language = languagesByExtension.get(extname(file));
  if (language === undefined)
    throw new UsageError(
      `${file} has no extension of a source (${[...languagesByExtension.keys()].join(', ')}): compile C, Rust and other languages to .wasm first`,
    );
  const content = readInputFile(file);
  try {
    const build = await pushBuild(operator.client, { ...options, language, content, features: enable });
    for (const warning of build.warnings) console.error(formatDiagnostic(warning, file));
    printResult(operator, build, () => [`pushed ${build.module}@${build.version}: ${build.image.bytes} bytes by ${build.compiler}`]);
    return exitCodes.success;
  } catch (error) {
    const found = error instanceof ResponseError ? (error.problem?.diagnostics ?? []) : [];
    if (found.length === 0) throw error;
    for (const diagnostic of found) console.error(formatDiagnostic(diagnostic, file));
    return exitCodes.failed;
  }
}
