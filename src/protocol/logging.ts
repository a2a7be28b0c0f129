// Loggers of the service and of device hosts: lines of JSON in which no key, token or cookie stands, whatever is logged.

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
/** API keys and agent tokens, also where their ends are cut off, and what stands after `Bearer`. */
const secretForms = /patchbay_[0-9a-f]{32}_[\w-]+|agt_[\w-]+|\bBearer +[^\s"\\]+/gi;
/** Headers that hold secrets of any form, with their value or values. */
const secretHeaders = /("(?:(?:proxy-)?authorization|(?:set-)?cookie)":)(?:"(?:[^"\\]|\\.)*"|\[(?:"(?:[^"\\]|\\.)*",?)*\])/gi;

/** A text without what has the form of a secret. */
export function withoutSecrets(text: string): string {
  return text.replaceAll(secretForms, censor);
}

/**
 * A logger whose every line is looked through as it is written: that finds a secret at any depth and inside any text. The `redact` of pino knows
 * places only, and costs ten times as much for those three objects deep.
 */
export function createLogger({ level, stream, name, secrets = [] }: LoggerSettings): Logger {
  // As they stand in a line of JSON.
  const texts = secrets.map((secret) => JSON.stringify(secret).slice(1, -1));
  const streamWrite = (line: string) => {
    const others = withoutSecrets(line.replaceAll(secretHeaders, `$1"${censor}"`));
    return texts.reduce((rest, text) => rest.replaceAll(text, censor), others);
  };
  return pino({ level, ...(name === undefined ? {} : { name }), hooks: { streamWrite } }, stream);
}
