#!/usr/bin/env node
// `patchbay` as npm installs it: runs the command line on the Node of the package if the Node that started this file is too old.

import { spawn } from 'node:child_process';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

/** The minimum major version of Node. */
const minMajor = 26;
const entry = new URL('../src/cli/patchbay.ts', import.meta.url);
/** Cache of compiled sources: with it, commands start in two thirds of the time. It may be deleted. */
const compileCache = fileURLToPath(new URL('../node_modules/.cache/patchbay', import.meta.url));

const runtime = packagedRuntime();
if (runtime === null) {
  fail(`the packages of Patchbay are not installed: run \`npm ci\` in ${fileURLToPath(new URL('..', import.meta.url))}, and try again`);
} else if (Number.parseInt(process.versions.node, 10) >= minMajor) {
  module.enableCompileCache(compileCache);
  await import(entry.href);
} else runOnPackagedRuntime(runtime);

/** Prints an error in the form of the command line, and sets the exit code. */
function fail(detail) {
  const report = { type: 'urn:patchbay:cli:failed', title: 'The command failed', detail };
  console.error(process.argv.includes('--json') ? JSON.stringify(report) : `error: ${detail}`);
  process.exitCode = 1;
}

/** Returns the Node executable of the package; null if the packages are not installed. */
function packagedRuntime() {
  try {
    return module.createRequire(import.meta.url).resolve('node/bin/node');
  } catch {
    return null;
  }
}

function runOnPackagedRuntime(runtime) {
  const env = { NODE_COMPILE_CACHE: compileCache, ...process.env };
  const child = spawn(runtime, [fileURLToPath(entry), ...process.argv.slice(2)], { stdio: 'inherit', env });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // A terminal sends SIGINT to both processes: this process waits for the other.
  process.on('SIGINT', () => {});
  child.on('error', (error) => {
    fail(`cannot start ${runtime}: ${error.message}: run \`npm ci\` again`);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exitCode = code ?? 1;
    else {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  });
}
