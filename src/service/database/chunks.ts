// Lists of identifiers that are too long for one statement.

/** Identifiers in one statement. Prisma accepts at most 999 parameters for SQLite where it cannot split a statement itself. */
const chunkSize = 500;

/** The values in chunks of at most so many; by itself each is short enough for one statement. */
export function splitIntoChunks<Value>(values: readonly Value[], size = chunkSize): Value[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) => values.slice(index * size, (index + 1) * size));
}

/** Reads for each chunk, and answers all that was found. */
export async function readInChunks<Value, Row>(values: readonly Value[], read: (chunk: Value[]) => Promise<Row[]>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const chunk of splitIntoChunks(values)) for (const row of await read(chunk)) rows.push(row);
  return rows;
}
