// Reports errors between a command and the service in the terms of the command line: options and commands, never API calls.

import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { ResponseError, type Schemas } from '../../client/client.ts';
import { UnreachableError } from '../../client/fetch-with-retries.ts';
import { type ErrorReport, errorTypes, ReportedError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { describeInCommandTerms, optionOf } from './request-fields.ts';
import { defaultKeyFile, type OperatorSettings, settingVariables } from './settings.ts';

type Context = {
  readonly command: CommandUnknownOpts;
  readonly settings: OperatorSettings;
  /** Hints to add. */
  readonly hints: readonly string[];
};

/** Returns the report of a failed request; null for any other error. */
export function reportServiceError(error: unknown, context: Context): ReportedError | null {
  const report = toReport(error, context);
  if (report === null) return null;
  const hints = [...(report.hints ?? []), ...context.hints];
  return new ReportedError(hints.length === 0 ? report : { ...report, hints }, exitCodes.failed, error);
}

function toReport(error: unknown, { command, settings }: Context): ErrorReport | null {
  if (error instanceof UnreachableError)
    return {
      type: errorTypes.unreachable,
      title: 'The service is unreachable',
      detail: `no service is reachable at ${error.url} (${error.message})`,
      hints: ['start the service with "patchbay serve", or give the URL of another with --service or PATCHBAY_SERVICE'],
    };
  if (!(error instanceof ResponseError)) return null;
  if (error.problem === null || isUnknownCall(error.problem))
    return {
      type: errorTypes.unexpectedResponse,
      title: 'Unexpected response',
      detail: `unexpected response from ${settings.service} (status ${error.status})`,
      status: error.status,
      hints: ['check that --service is the URL of a Patchbay service of this version'],
    };
  return describeProblem(error.problem, command, settings);
}

/** Returns whether the service lacks the call: it is of another version, or the URL has a path. */
const isUnknownCall = ({ type, detail }: Schemas['Problem']) =>
  type === 'urn:patchbay:problem:method-not-allowed' ||
  (type === 'urn:patchbay:problem:not-found' && /\/v1\b/.test(detail.split(': ')[0] ?? ''));

function describeProblem(problem: Schemas['Problem'], command: CommandUnknownOpts, settings: OperatorSettings): ErrorReport {
  const { type, title, status, instance, diagnostics } = problem;
  const errors = (problem.errors ?? []).map((error) => ({
    option: optionOf(command, error),
    detail: describeInCommandTerms(error.detail, command),
  }));
  const hints = hintsFor(status, settings);
  return {
    type,
    title,
    status,
    detail: detailOf(problem, errors, command, settings),
    ...(instance ? { instance } : {}),
    ...(errors.length === 0 ? {} : { errors }),
    ...(diagnostics === undefined ? {} : { diagnostics }),
    ...(hints.length === 0 ? {} : { hints }),
  };
}

function detailOf(
  { status, detail }: Schemas['Problem'],
  errors: NonNullable<ErrorReport['errors']>,
  command: CommandUnknownOpts,
  { key }: OperatorSettings,
): string {
  if (status === 401 && key === null) return 'the service requires an API key';
  if (errors.length > 0) return errors.map((error) => `${error.option}: ${error.detail}`).join('; ');
  return describeInCommandTerms(detail, command);
}

function hintsFor(status: number, { key, keyFrom }: OperatorSettings): string[] {
  if (status === 401) {
    const newKey = `the first start of the service writes the administrator key to ${defaultKeyFile}; "patchbay serve --new-admin-key" creates another`;
    return [
      key === null
        ? `give a key with --key-file, ${settingVariables['key-file']} or ${settingVariables.key}`
        : `the service rejects the key from ${keyFrom}: give another with --key-file, ${settingVariables['key-file']} or ${settingVariables.key}`,
      newKey,
    ];
  }
  if (status === 429) return ['the service was still busy after several attempts: try again later'];
  if (status >= 500) return ['see the log of the service under this request'];
  return [];
}
