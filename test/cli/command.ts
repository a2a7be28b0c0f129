// Runs a command in a process, as a user does.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export const entry = fileURLToPath(new URL('../../src/cli/patchbay.ts', import.meta.url));

export type CommandResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Variables of this process that would change the behaviour of a command. */
const excludedVariables = /^(PATCHBAY_|OTEL_|npm_|XDG_|CI$|NO_COLOR$|FORCE_COLOR$|NODE_(?!COMPILE_CACHE$))/;

/** Returns the environment of this process without settings, and with these changes. */
export function environment(changes: Record<string, string>): NodeJS.ProcessEnv {
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !excludedVariables.test(name))), ...changes };
}

/** Runs a program to its end. */
export function run(
  file: string,
  args: readonly string[],
  options: { readonly env: NodeJS.ProcessEnv; readonly cwd?: string },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    execFile(file, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else reject(error);
    });
  });
}

/** Runs `patchbay` in the home folder of its user. */
export function runPatchbay(home: string, args: readonly string[], changes: Record<string, string> = {}): Promise<CommandResult> {
  return run(process.execPath, [entry, ...args], { env: environment({ HOME: home, ...changes }), cwd: home });
}

/** Parses the output of a command with --json. */
export function parseStdout({ stdout }: CommandResult): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(JSON.parse(stdout));
}
