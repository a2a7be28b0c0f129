// Ends a command: by Ctrl-C, a signal, or the end of the npm process that started it.

let shutdown: AbortSignal | null = null;

/** Returns the signal that is aborted when this process must end; every call returns the same signal. */
export function shutdownSignal(): AbortSignal {
  shutdown ??= listen();
  return shutdown;
}

/** Runs a service or a host until this process must end. Only its owner can read the files that it creates, including those of SQLite. */
export async function runUntilShutdown(run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  process.umask(0o077);
  // The process continues when its output has no reader or cannot be written.
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error').on('error', () => {});
  await run(shutdownSignal());
}

function listen(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  if (process.env['npm_lifecycle_event'] !== undefined) abortWithParent(process.ppid, controller);
  return controller.signal;
}

/** When npm receives a signal, it ends the shell between itself and this process; this process would be orphaned. */
function abortWithParent(parent: number, controller: AbortController): void {
  setInterval(() => process.ppid !== parent && controller.abort(), 250).unref();
}
