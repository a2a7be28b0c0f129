// What the exit code of an operator's command tells.

export const exitCodes = {
  success: 0,
  /** Something went wrong in the command or in the service. */
  failed: 1,
  usageError: 2,
  /** Some loads were refused by their devices. */
  loadsRefused: 3,
  /** Some loads failed, or ended without their device. */
  loadsFailed: 4,
  /** The command did its work, and what it looked into is not all well. */
  unhealthy: 5,
  /** Ctrl-C, as shells tell it. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
