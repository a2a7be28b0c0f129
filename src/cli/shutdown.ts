// When a command is to end: by Ctrl-C or a signal, or when npm that started it has ended.

let stopped: AbortSignal | null = null;

/** The signal that is aborted when this process is to end; the same for all who ask. */
export function shutdownSignal(): AbortSignal {
  stopped ??= listen();
  return stopped;
}

/** Runs a service or a host until this process is to end. The files that they create are for their owner only, those of SQLite included. */
export async function runUntilShutdown(run: (stopped: AbortSignal) => Promise<void>): Promise<void> {
  process.umask(0o077);
  // They continue when their output has no reader or cannot be written.
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error').on('error', () => {});
  await run(shutdownSignal());
}

function listen(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  if (process.env['npm_lifecycle_event'] !== undefined) endWithParent(process.ppid, stop);
  return stop.signal;
}

/** npm that is told to end ends the shell between it and this process, and this process would be left behind. */
function endWithParent(parent: number, stop: AbortController): void {
  setInterval(() => process.ppid !== parent && stop.abort(), 250).unref();
}
