#!/usr/bin/env node
// `patchbay` as npm installs it: runs the command line on the runtime that comes with the package where the one that started this is too old.

import { spawn } from 'node:child_process';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

/** The first version that runs the sources and the device's machine. */
const leastMajor = 26;
const entry = new URL('../src/cli/patchbay.ts', import.meta.url);
/** What the runtime makes of the sources is kept here, so that the next command starts in two thirds of the time; it may be deleted. */
const compileCache = fileURLToPath(new URL('../node_modules/.cache/patchbay', import.meta.url));

const runtime = packagedRuntime();
if (runtime === null) {
  console.error(
    `the packages of Patchbay are not installed: run \`npm ci\` in ${fileURLToPath(new URL('..', import.meta.url))}, and try again`,
  );
  process.exitCode = 1;
} else if (Number.parseInt(process.versions.node, 10) >= leastMajor) {
  module.enableCompileCache(compileCache);
  await import(entry.href);
} else runOnPackagedRuntime(runtime);

/** The file of the runtime that comes with the package; null while its packages are not installed. */
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
  // A terminal sends it to both: here it is only waited for what the other does.
  process.on('SIGINT', () => {});
  child.on('error', (error) => {
    console.error(`cannot start the runtime ${runtime}: ${error.message}: run npm ci again`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exitCode = code ?? 1;
    else {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  });
}
