// Loggers of the service and of device hosts. They write lines of JSON without keys, tokens or cookies.

import { writeSync } from 'node:fs';
import { type DestinationStream, type Logger, pino } from 'pino';

export type LoggerSettings = {
  /** Minimum level that is written; `silent`: nothing is written. */
  readonly level: string;
  readonly stream: DestinationStream;
  /** Name in every line. */
  readonly name?: string;
  /** Secrets without a recognizable form, such as the join token. */
  readonly secrets?: readonly string[];
};

const censor = '[redacted]';
/** Matches API keys, agent tokens, sessions and JWTs, even if truncated, the query of a return from the identity provider, and any value after `Bearer` except the placeholders `TOKEN` and `KEY` of messages. */
const secretForms =
  /patchbay_[0-9a-f]{32}_[\w-]+|agt_[\w-]+|\bses_[0-9a-f]{32}_[\w-]+|\beyJ[\w-]+\.[\w.-]+|(?<=\/sign-in\/callback\?)[^\s"\\]+|\bBearer +(?!(?:TOKEN|KEY)`)[^\s"\\]+/gi;
/** Matches headers with secrets of any form, and their values. */
const secretHeaders = /("(?:(?:proxy-)?authorization|(?:set-)?cookie)":)(?:"(?:[^"\\]|\\.)*"|\[(?:"(?:[^"\\]|\\.)*",?)*\])/gi;

/** Redacts everything in a text that has the form of a secret. */
export function redactSecrets(text: string): string {
  return text.replaceAll(secretForms, censor);
}

/** Attempts to write a line to a slow reader, one per millisecond. */
const maxAttempts = 100;

/**
 * Creates a stream that writes lines to a file descriptor and never fails. A line that cannot be written, for example to a full disk or a closed pipe,
 * is dropped. The next successful write is preceded by a line with the number of lost lines.
 */
export function createLossyStream(descriptor: number): DestinationStream {
  let lost = 0;
  return {
    write(line: string) {
      try {
        writeAll(descriptor, lost === 0 ? line : `${formatLoss(lost)}\n${line}`);
        lost = 0;
      } catch {
        lost += 1;
      }
    },
  };
}

const formatLoss = (lines: number) =>
  JSON.stringify({ level: 40, time: Date.now(), pid: process.pid, msg: `${lines} log lines could not be written` });

/** Writes a whole text. @throws {Error} of the operating system. */
function writeAll(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let attempt = 1; rest.length > 0; attempt += 1) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const isSlow = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
      if (!isSlow || attempt >= maxAttempts) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/**
 * Creates a logger that redacts secrets in each line before writing it, which finds secrets at any depth and inside any text. pino's `redact` matches
 * paths only, and costs ten times as much for paths three levels deep.
 */
export function createLogger({ level, stream, name, secrets = [] }: LoggerSettings): Logger {
  // As escaped in a line of JSON.
  const escapedSecrets = secrets.map((secret) => JSON.stringify(secret).slice(1, -1));
  const streamWrite = (line: string) => {
    const redacted = redactSecrets(line.replaceAll(secretHeaders, `$1"${censor}"`));
    return escapedSecrets.reduce((text, secret) => text.replaceAll(secret, censor), redacted);
  };
  return pino({ level, ...(name === undefined ? {} : { name }), hooks: { streamWrite } }, stream);
}
