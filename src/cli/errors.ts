// Errors of commands, and the report of an error that people or machines read on standard error.

import type { Schemas } from '../client/client.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';

/** The command line or a setting is invalid; the message says what to change. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The command cannot do its work; the message says why and what to change. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** An invalid value of a request, and the option or argument that set it. */
type InvalidOption = { readonly option: string; readonly detail: string };

/** One error, in the form of `--json`. The members have the meaning of RFC 9457. */
export type ErrorReport = {
  readonly type: string;
  readonly title: string;
  readonly detail: string;
  /** HTTP status of the service's response, if there was one. */
  readonly status?: number;
  /** Identifier of the request in the log of the service. */
  readonly instance?: string;
  readonly errors?: readonly InvalidOption[];
  readonly diagnostics?: readonly Schemas['Diagnostic'][];
  /** What may help. */
  readonly hints?: readonly string[];
  /** Only of an unexpected error. */
  readonly stack?: string;
};

/** An error with its full report. */
export class ReportedError extends Error {
  override readonly name = 'ReportedError';
  readonly report: ErrorReport;
  readonly exitCode: ExitCode;

  constructor(report: ErrorReport, exitCode: ExitCode, cause?: unknown) {
    super(report.detail, { cause });
    this.report = report;
    this.exitCode = exitCode;
  }
}

/** The wait for work of the service ended early, by an error or by Ctrl-C; the work continues. */
export class WaitError extends Error {
  override readonly name = 'WaitError';
  /** Says that the work continues, and which command shows it. */
  readonly hint: string;

  constructor(cause: unknown, hint: string) {
    super('the wait ended early', { cause });
    this.hint = hint;
  }
}

/** Types of the errors that the command line itself reports. */
export const errorTypes = {
  usage: 'urn:patchbay:cli:usage',
  failed: 'urn:patchbay:cli:failed',
  unreachable: 'urn:patchbay:cli:unreachable',
  unexpectedResponse: 'urn:patchbay:cli:unexpected-response',
  interrupted: 'urn:patchbay:cli:interrupted',
  internal: 'urn:patchbay:cli:internal',
} as const;

/**
 * Returns the report of an error.
 * @param command The command that was given, like `patchbay load list`: its help is named for a usage error.
 */
export function toReportedError(error: unknown, command: string): ReportedError {
  if (error instanceof ReportedError) return error;
  if (error instanceof UsageError) {
    const hints = [`see "${command} --help"`];
    return new ReportedError(
      { type: errorTypes.usage, title: 'Invalid command line', detail: error.message, hints },
      exitCodes.usageError,
      error,
    );
  }
  if (error instanceof CommandError || isSystemError(error))
    return new ReportedError({ type: errorTypes.failed, title: 'The command failed', detail: error.message }, exitCodes.failed, error);
  const detail = error instanceof Error ? error.message : String(error);
  const stack = error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {};
  return new ReportedError({ type: errorTypes.internal, title: 'Internal error', detail, ...stack }, exitCodes.failed, error);
}

/** Returns whether the operating system reported the error, as for a file that cannot be written. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && typeof error.syscall === 'string';
}
