// When a command is to end: by Ctrl-C or a signal, or when npm that started it has ended.

let stopped: AbortSignal | null = null;

/** The signal that is aborted when this process is to end; the same for all who ask. */
export function untilStopped(): AbortSignal {
  stopped ??= listen();
  return stopped;
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
