// Where an audit trail to be verified comes from, line by line: the service, or files that were exported from it.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { type Client, unwrapResponse } from '../../client/client.ts';
import { readLines } from '../../client/read-lines.ts';
import { CommandError, UsageError } from '../option-values.ts';

/** The lines of an export that the service makes now, as they come. */
export async function serviceLines(client: Client, after: number | undefined, signal: AbortSignal): Promise<AsyncIterable<string>> {
  const query = after === undefined ? {} : { after };
  const stream = unwrapResponse(await client.GET('/v1/audit/export', { params: { query }, parseAs: 'stream', signal }));
  return linesOf(stream, signal);
}

/** The lines of exports of which each begins where the one before ends. @throws {UsageError} by what is answered. */
export async function* fileLines(files: readonly string[]): AsyncGenerator<string> {
  let until: number | null = null;
  for (const file of files) {
    let isFirst = true;
    try {
      for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
        if (isFirst) {
          const bounds = boundsOf(line);
          if (until !== null && bounds.after !== until)
            throw new UsageError(
              `${file} begins after event ${bounds.after}, and the file before it ends with ${until}: give the files in their order, and all of them`,
            );
          if (until === null) yield line;
          until = bounds.until;
        } else yield line;
        isFirst = false;
      }
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Where an export begins and ends, by its first line; of one that has none, the verification tells. */
function boundsOf(line: string): { after: number; until: number } {
  try {
    const start: unknown = JSON.parse(line);
    if (typeof start === 'object' && start !== null && 'after' in start && 'until' in start)
      return { after: Number(start.after), until: Number(start.until) };
  } catch {}
  return { after: Number.NaN, until: Number.NaN };
}

async function* linesOf(stream: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<string> {
  try {
    yield* readLines(stream, signal);
  } catch (error) {
    throw new CommandError(`the export was cut short: ${error instanceof Error ? error.message : String(error)}: try again`);
  }
}
