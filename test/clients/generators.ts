// Generates four clients of the API from the OpenAPI document, each in its own folder with a program that uses it, and compiles them together.

import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import openapiTypeScript, { astToString } from 'openapi-typescript';
import ts from 'typescript';

const run = promisify(execFile);

const root = fileURLToPath(new URL('../../', import.meta.url));
const document = join(root, 'openapi/openapi.json');
const programs = join(root, 'test/clients/programs');

type Generator = {
  /** Generates the client into `generated/` of the folder. */
  readonly generate: (folder: string) => Promise<unknown>;
  /** Source of a module that exports the types `Step`, `Order` and `Report` of the client. */
  readonly types: string;
};

/** The generators by the name of the program that uses the client. */
const generators = {
  'openapi-fetch': {
    generate: async (folder) => {
      const nodes = await openapiTypeScript(pathToFileURL(document), {
        defaultNonNullable: false,
        // Recommended by its documentation for binary bodies.
        transform: ({ format }) => (format === 'binary' ? ts.factory.createTypeReferenceNode('Blob') : undefined),
      });
      mkdirSync(join(folder, 'generated'));
      writeFileSync(join(folder, 'generated/api.ts'), astToString(nodes));
    },
    types: `import type { components } from './generated/api.js';
      export type Step = components['schemas']['Step'];
      export type Order = components['schemas']['Order'];
      export type Report = components['schemas']['Report'];`,
  },
  'hey-api': {
    generate: (folder) => command(folder, 'openapi-ts', ['--input', document, '--output', 'generated', '--silent', '--no-log-file']),
    types: `export type { Order, Report, Step } from './generated/index.js';`,
  },
  orval: {
    generate: (folder) => {
      const output = {
        target: 'generated/client.ts',
        client: 'fetch',
        baseUrl: { runtime: 'process.env.PATCHBAY_URL' },
        urlEncodeParameters: true,
        // Without it, a body of JSON or bytes is not serialized.
        override: { splitByContentType: true },
      };
      writeFileSync(join(folder, 'orval.config.json'), JSON.stringify({ patchbay: { input: document, output } }));
      return command(folder, 'orval', ['--config', 'orval.config.json', '--fail-on-warnings']);
    },
    types: `export type { Order, Report, Step } from './generated/client.js';`,
  },
  oazapfts: {
    generate: (folder) => {
      mkdirSync(join(folder, 'generated'));
      return command(folder, 'oazapfts', [document, 'generated/client.ts']);
    },
    types: `export type { Order, Report, Step } from './generated/client.js';`,
  },
} satisfies Record<string, Generator>;

export type ClientName = keyof typeof generators;
export const clientNames: readonly ClientName[] = ['openapi-fetch', 'hey-api', 'orval', 'oazapfts'];

function command(folder: string, name: string, parameters: readonly string[]) {
  return run(process.execPath, [join(root, 'node_modules/.bin', name), ...parameters], {
    cwd: folder,
    // Generators store caches in the folder of temporary files.
    env: { ...process.env, TMPDIR: folder },
  });
}

/** Generates every client into a folder of its name, next to its program. */
export async function generateClients(folder: string): Promise<void> {
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  await Promise.all(
    clientNames.map(async (name) => {
      const clientFolder = join(folder, name);
      mkdirSync(clientFolder);
      const { generate, types } = generators[name];
      await generate(clientFolder);
      writeFileSync(join(clientFolder, 'types.ts'), types);
      copyFileSync(join(programs, `${name}.ts`), join(clientFolder, 'program.ts'));
      for (const shared of ['job.ts', 'narrowing.ts']) copyFileSync(join(programs, shared), join(clientFolder, shared));
    }),
  );
}

/** Compiles all programs with their clients to `compiled/NAME/program.js`. Returns the compiled program and its errors. */
export function compileClients(folder: string): { readonly program: ts.Program; readonly errors: readonly string[] } {
  const program = ts.createProgram(
    clientNames.map((name) => join(folder, name, 'program.ts')),
    {
      strict: true,
      noUncheckedIndexedAccess: true,
      noImplicitOverride: true,
      noImplicitReturns: true,
      noFallthroughCasesInSwitch: true,
      isolatedModules: true,
      target: ts.ScriptTarget.ESNext,
      lib: ['lib.esnext.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
      module: ts.ModuleKind.NodeNext,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      // Skips only the declarations of packages: generated files are not declaration files.
      skipLibCheck: true,
      rootDir: folder,
      outDir: join(folder, 'compiled'),
    },
  );
  const { diagnostics } = program.emit();
  const errors = [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(({ file, start = 0, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1;
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
  return { program, errors };
}
