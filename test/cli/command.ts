// One command as a user runs it: a process, what it says, and its exit code.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export const entry = fileURLToPath(new URL('../../src/cli/patchbay.ts', import.meta.url));

export type CommandResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Variables of this process that would change what a command does. */
const foreign = /^(PATCHBAY_|npm_|XDG_|CI$|NO_COLOR$|FORCE_COLOR$|NODE_(?!COMPILE_CACHE$))/;

/** The environment of a command: of this process, without what tells of settings. */
export function environment(changes: Record<string, string>): NodeJS.ProcessEnv {
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name))), ...changes };
}

/** Runs a file of JavaScript, or another program, to its end. */
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

/** `patchbay` with these arguments, in the folder that is its user's home. */
export function runPatchbay(home: string, args: readonly string[], changes: Record<string, string> = {}): Promise<CommandResult> {
  return run(process.execPath, [entry, ...args], { env: environment({ HOME: home, ...changes }), cwd: home });
}

/** What a command said to machines. */
export function parseStdout({ stdout }: CommandResult): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).parse(JSON.parse(stdout));
}
