// Exit codes of operator commands.

export const exitCodes = {
  success: 0,
  /** The command or the service failed. */
  failed: 1,
  usageError: 2,
  /** Devices refused some loads. */
  loadsRefused: 3,
  /** Some loads failed, expired, or were cancelled or superseded. */
  loadsFailed: 4,
  /** The command worked, and found the fleet or the audit trail unhealthy. */
  unhealthy: 5,
  /** Ctrl-C: 128 and the number of SIGINT, as in shells. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];
