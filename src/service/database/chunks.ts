// Splits lists of identifiers that are too long for one statement.

/** Identifiers per statement. Prisma accepts at most 999 parameters for SQLite if it cannot split the statement itself. */
const chunkSize = 500;

/** Splits values into chunks of at most `size`; the default size fits into one statement. */
export function splitIntoChunks<Value>(values: readonly Value[], size = chunkSize): Value[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) => values.slice(index * size, (index + 1) * size));
}

/** Calls `read` for each chunk of the values, and returns all rows. */
export async function readInChunks<Value, Row>(values: readonly Value[], read: (chunk: Value[]) => Promise<Row[]>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const chunk of splitIntoChunks(values)) for (const row of await read(chunk)) rows.push(row);
  return rows;
}
