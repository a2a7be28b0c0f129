// What went wrong between the command and the service, said to the operator: what happened, and what may help.

import console from 'node:console';
import { ResponseError, type Schemas } from '../../client/client.ts';
import { UnreachableError } from '../../client/fetch-with-retries.ts';
import { defaultKeyFile, type OperatorSettings, settingVariables } from '../operator/settings.ts';
import { colour } from './colours.ts';

/** Says on standard error why the service did not answer as it should, and what may help; answers whether it was that. */
export function explain(error: unknown, settings: OperatorSettings): boolean {
  if (error instanceof UnreachableError) {
    const start = 'start it there with "patchbay serve", or name another with --service or PATCHBAY_SERVICE';
    say([`no service is reachable at ${error.url} (${error.message})`], [start]);
    return true;
  }
  if (!(error instanceof ResponseError)) return false;
  if (error.problem === null)
    say(
      [`${settings.service} does not answer as a Patchbay service does: ${error.message}`],
      ['is this the address of the service? --service names it'],
    );
  else say(problemLines(error.problem), hints(error.problem, settings));
  return true;
}

function say([first = '', ...others]: readonly string[], help: readonly string[]): void {
  console.error(colour('red', first, process.stderr));
  for (const line of others) console.error(`  ${line}`);
  for (const hint of help) console.error(`hint: ${hint}`);
}

function problemLines({ title, detail, errors = [], diagnostics = [], instance }: Schemas['Problem']): string[] {
  return [
    `${title}: ${detail}`,
    // The detail already says the only one.
    ...(errors.length === 1 ? [] : errors).map(
      ({ in: part, pointer, detail: what }) => `${part === 'body' ? '' : `${part} `}${pointer}: ${what}`,
    ),
    ...diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)),
    ...(instance ? [`request ${instance}`] : []),
  ];
}

/** One thing that a compiler found, as editors understand it; in `file` where the compiler names none. */
export function formatDiagnostic({ file, line, column, severity, message }: Schemas['Diagnostic'], given: string | null = null): string {
  const place = [given ?? file, line, column].filter((part) => part !== null).join(':');
  return `${place === '' ? '' : `${place}: `}${severity === 'warning' ? 'warning: ' : ''}${message}`;
}

function hints({ status }: Schemas['Problem'], { key, keyFrom }: OperatorSettings): string[] {
  if (status === 401) {
    const where = `the service keeps the one that its first start makes in ${defaultKeyFile}, where it runs; if it is lost, "patchbay serve --new-admin-key" makes another`;
    return key === null
      ? [`give a key with --key-file, ${settingVariables['key-file']} or ${settingVariables.key}; ${where}`]
      : [`the service does not know the key of ${keyFrom}, or it is revoked: ask for a new one, or give another with --key-file; ${where}`];
  }
  if (status === 429) return ['the service stayed busy although the request was repeated: try again later'];
  if (status >= 500) return ['the log of the service has more under this request'];
  return [];
}
