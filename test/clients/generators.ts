// Clients of the API as four generators make them of the document, each in a folder of its own with the program that uses it, compiled at once.

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
  /** Makes the client in `generated/` of the folder. */
  readonly generate: (folder: string) => Promise<unknown>;
  /** A module that exports the types `Step`, `Order` and `Report` of the client. */
  readonly types: string;
};

/** By the name of the program that uses it. */
const generators = {
  'openapi-fetch': {
    generate: async (folder) => {
      const nodes = await openapiTypeScript(pathToFileURL(document), {
        defaultNonNullable: false,
        // As its documentation says for bodies that are bytes.
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
        // Otherwise a body that may be JSON or bytes is sent as it is.
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
    // Generators keep caches among the temporary files.
    env: { ...process.env, TMPDIR: folder },
  });
}

/** Generates every client into a folder of its name, beside its program. */
export async function generateClients(folder: string): Promise<void> {
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  await Promise.all(
    clientNames.map(async (name) => {
      const own = join(folder, name);
      mkdirSync(own);
      const { generate, types } = generators[name];
      await generate(own);
      writeFileSync(join(own, 'types.ts'), types);
      copyFileSync(join(programs, `${name}.ts`), join(own, 'program.ts'));
      for (const shared of ['job.ts', 'narrowing.ts']) copyFileSync(join(programs, shared), join(own, shared));
    }),
  );
}

/** Compiles all programs with their clients to `compiled/NAME/program.js`; answers the program that the types are of, and what is wrong. */
export function compileClients(folder: string): { readonly program: ts.Program; readonly wrong: readonly string[] } {
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
      // Of the packages' own declarations only; what is generated is no declaration file.
      skipLibCheck: true,
      rootDir: folder,
      outDir: join(folder, 'compiled'),
    },
  );
  const { diagnostics } = program.emit();
  const wrong = [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(({ file, start = 0, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1;
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
  return { program, wrong };
}
