// Loggers of the service and of device hosts: lines of JSON in which no key, token or cookie stands, whatever is logged.

import { writeSync } from 'node:fs';
import { type DestinationStream, type Logger, pino } from 'pino';

export type LoggerSettings = {
  /** The least of the levels that are written; `silent`: none is. */
  readonly level: string;
  readonly stream: DestinationStream;
  /** What every line says of whose it is. */
  readonly name?: string;
  /** Secrets that are not known by their form, like the join token. */
  readonly secrets?: readonly string[];
};

const censor = '[redacted]';
/** API keys and agent tokens, also where their ends are cut off, and what stands after `Bearer`, other than the placeholder of a message. */
const secretForms = /patchbay_[0-9a-f]{32}_[\w-]+|agt_[\w-]+|\bBearer +(?!(?:TOKEN|KEY)`)[^\s"\\]+/gi;
/** Headers that hold secrets of any form, with their value or values. */
const secretHeaders = /("(?:(?:proxy-)?authorization|(?:set-)?cookie)":)(?:"(?:[^"\\]|\\.)*"|\[(?:"(?:[^"\\]|\\.)*",?)*\])/gi;

/** A text without what has the form of a secret. */
export function redactSecrets(text: string): string {
  return text.replaceAll(secretForms, censor);
}

/** How long a line waits for a reader that is slow, in attempts of a millisecond each. */
const attempts = 100;

/**
 * Writes lines to a file descriptor, as that of standard error. A line that cannot be written, as on a full disk or to a reader that has gone, is
 * dropped and counted, and the next that can be written comes after one that says how many were lost: a log that cannot be written ends no process.
 */
export function createLossyStream(descriptor: number): DestinationStream {
  let lost = 0;
  return {
    write(line: string) {
      try {
        writeAll(descriptor, lost === 0 ? line : `${lossOf(lost)}\n${line}`);
        lost = 0;
      } catch {
        lost += 1;
      }
    },
  };
}

const lossOf = (lines: number) =>
  JSON.stringify({ level: 40, time: Date.now(), pid: process.pid, msg: `${lines} lines of the log could not be written` });

/** @throws {Error} of the operating system. */
function writeAll(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let attempt = 1; rest.length > 0; attempt += 1) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const isSlow = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
      if (!isSlow || attempt >= attempts) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/**
 * A logger whose every line is looked through as it is written: that finds a secret at any depth and inside any text. The `redact` of pino knows
 * places only, and costs ten times as much for those three objects deep.
 */
export function createLogger({ level, stream, name, secrets = [] }: LoggerSettings): Logger {
  // As they stand in a line of JSON.
  const texts = secrets.map((secret) => JSON.stringify(secret).slice(1, -1));
  const streamWrite = (line: string) => {
    const others = redactSecrets(line.replaceAll(secretHeaders, `$1"${censor}"`));
    return texts.reduce((rest, text) => rest.replaceAll(text, censor), others);
  };
  return pino({ level, ...(name === undefined ? {} : { name }), hooks: { streamWrite } }, stream);
}
