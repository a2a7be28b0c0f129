// The command line: `serve` starts the service, `host` a process of devices.

import console from 'node:console';
import { StartError, UsageError } from './command-line.ts';
import { host } from './host.ts';
import { serve } from './serve.ts';

const help = `Usage: node src/cli/patchbay.ts COMMAND [options]

Commands:
  serve   start the control service (npm start)
  host    run simulated devices for a service (npm run host)

Each has --help.
`;

const commands = new Map([
  ['serve', serve],
  ['host', host],
]);

const [name = '--help', ...args] = process.argv.slice(2);
const command = commands.get(name);
const stopped = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());
if (process.env['npm_lifecycle_event'] !== undefined) endWithParent(process.ppid);

if (name === '--help') {
  console.log(help);
} else if (command === undefined) {
  console.error(`there is no command "${name}": the commands are ${[...commands.keys()].join(' and ')}`);
  process.exitCode = 2;
} else {
  try {
    await command(args, stopped.signal);
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** npm that is told to end ends the shell between it and this process, and this process would be left behind. */
function endWithParent(parent: number): void {
  setInterval(() => process.ppid !== parent && stopped.abort(), 250).unref();
}

/** Says what went wrong and answers the exit code: 2 where the command line was wrong. */
function report(error: unknown): number {
  const isUsage =
    error instanceof UsageError || (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'));
  if (isUsage) console.error(`${error.message}\nSee --help.`);
  else console.error(error instanceof StartError ? error.message : error);
  return isUsage ? 2 : 1;
}
