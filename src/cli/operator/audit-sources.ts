// Reads an audit trail for verification line by line, from the service or from exported files.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { type Client, unwrapResponse } from '../../client/client.ts';
import { readLines } from '../../client/read-lines.ts';
import { CommandError, UsageError } from '../errors.ts';

/** Requests an export from the service, and returns its lines as they arrive. */
export async function serviceLines(client: Client, after: number | undefined, signal: AbortSignal): Promise<AsyncIterable<string>> {
  const query = after === undefined ? {} : { after };
  const stream = unwrapResponse(await client.GET('/v1/audit/export', { params: { query }, parseAs: 'stream', signal }));
  return linesOf(stream, signal);
}

/**
 * Yields the lines of consecutive exports as one export: each file begins where the previous file ends.
 * @throws {UsageError} while iterating, if a file cannot be read or is out of order.
 */
export async function* fileLines(files: readonly string[]): AsyncGenerator<string> {
  let until: number | null = null;
  for (const file of files) {
    let isFirstLine = true;
    try {
      for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
        if (isFirstLine) {
          const bounds = boundsOf(line);
          if (until !== null && bounds.after !== until)
            throw new UsageError(
              `${file} begins after event ${bounds.after}, but the file before it ends with event ${until}: give all files, in order`,
            );
          if (until === null) yield line;
          until = bounds.until;
        } else yield line;
        isFirstLine = false;
      }
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Returns where an export begins and ends, from its first line; NaN if the line is not valid, which the verification reports. */
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
    throw new CommandError(`the export was truncated: ${error instanceof Error ? error.message : String(error)}: try again`);
  }
}
