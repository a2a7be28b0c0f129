// Writes the one error of a command to standard error: lines for people, or one JSON object.

import console from 'node:console';
import type { Schemas } from '../../client/client.ts';
import { type ErrorReport, errorTypes } from '../errors.ts';
import { colour } from './colours.ts';

/** Writes an error to standard error; as one line of JSON with `isJson`. */
export function printError(report: ErrorReport, isJson: boolean): void {
  console.error(isJson ? JSON.stringify(report) : formatError(report).join('\n'));
}

/** Types whose detail says everything: their title is shown only in JSON. */
const withoutTitle: ReadonlySet<string> = new Set([
  errorTypes.usage,
  errorTypes.failed,
  errorTypes.unreachable,
  errorTypes.unexpectedResponse,
  errorTypes.interrupted,
]);

function formatError({ type, title, detail, instance, errors = [], diagnostics = [], hints = [], stack }: ErrorReport): string[] {
  const [first, ...others] = diagnostics.length > 0 || errors.length > 1 ? [title] : messageOf(type, title, stack ?? detail).split('\n');
  return [
    `${colour('red', 'error:', process.stderr)} ${first}`,
    ...others.map((line) => `  ${line}`),
    ...(errors.length > 1 ? errors.map((error) => `  ${error.option}: ${error.detail}`) : []),
    // Editors find these lines by their beginning.
    ...diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)),
    ...(instance === undefined ? [] : [`request: ${instance}`]),
    ...hints.map((hint) => `hint: ${hint}`),
  ];
}

const messageOf = (type: string, title: string, detail: string) => (withoutTitle.has(type) ? detail : `${title}: ${detail}`);

/** Returns a finding of the compiler as `FILE:LINE:COLUMN: message`. */
export function formatDiagnostic({ file, line, column, severity, message }: Schemas['Diagnostic']): string {
  const place = [file, line, column].filter((part) => part !== null).join(':');
  return `${place === '' ? '' : `${place}: `}${severity === 'warning' ? 'warning: ' : ''}${message}`;
}
