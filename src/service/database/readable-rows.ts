// Reads of rows that do not depend on each other: a row that cannot be decoded is left out, reported and marked, and does not keep the others from being
// read. A read is repeated row by row only where it fails, so that a table without such rows is read as ever.

import type { Prisma } from './generated/client.ts';
import type { PageByName, PageByNumber, PageByTime } from './page.ts';
import type { QueryClient } from './query-client.ts';
import { checkDates, isDecodeError, type RowLocation, type RowName, UnreadableRow } from './undecodable-row.ts';

/** Called with each row that cannot be decoded. */
export type OnUnreadable = (row: UnreadableRow) => void;

/** Rows of a list; in the place of one that cannot be decoded there is a mark. */
export type MarkedRows<Row> = (Row | UnreadableRow)[];

/** As Prisma names it. */
type TableName = Uncapitalize<Prisma.ModelName>;
type Cells = Readonly<Record<string, unknown>>;
type Arguments = Cells;

/** What a row of a table is called, the columns of its key, and those that name it. */
type Table = { readonly kind: string; readonly key: readonly string[]; readonly name: readonly string[] };

const table = (kind: string, key: readonly string[] = ['id'], name = key): Table => ({ kind, key, name });

/** The kinds are those of the lists, so that a row has one name wherever it is read. */
const tables: Readonly<Record<TableName, Table>> = {
  abiViolation: table('ABI violation', ['number']),
  agentOrder: table('order'),
  apiKey: table('key'),
  auditEvent: table('audit event', ['number']),
  auditHead: table('audit head'),
  auditTile: table('audit tile', ['level', 'index']),
  build: table('build'),
  checkpoint: table('checkpoint', ['size']),
  device: table('device'),
  deviceLabel: table('device label', ['deviceId', 'key']),
  deviceModule: table('device module', ['deviceId', 'module']),
  historyEntry: table('history entry', ['number']),
  host: table('host'),
  idempotentResponse: table('idempotent response', ['actor', 'key']),
  image: table('image', ['digest']),
  load: table('load'),
  loadReport: table('load report', ['loadId']),
  loadTotal: table('load total', ['outcome']),
  program: table('program'),
  publisherKey: table('publisher key'),
  retentionTime: table('retention time'),
  rollout: table('rollout'),
  rolloutDevice: table('rollout device', ['rolloutId', 'deviceId'], ['deviceId']),
  rolloutWave: table('rollout wave', ['rolloutId', 'number']),
  signaturePolicy: table('signature policy'),
  signingKey: table('signing key'),
};

export const tableNames = Object.keys(tables);

/** What Prisma has of a table. */
type Model = {
  readonly findMany: (args: Arguments) => Promise<object[]>;
  readonly findFirst: (args: Arguments) => Promise<object | null>;
  readonly findUnique: (args: Arguments) => Promise<object | null>;
  readonly count: (args: Arguments) => Promise<number>;
};

/** The rows that `findMany` left out of what it returned, with their places among the others. */
const omittedRows = new WeakMap<readonly object[], readonly { readonly index: number; readonly row: UnreadableRow }[]>();

/**
 * Returns a client whose `findMany` leaves out rows that cannot be decoded. It is for rows that do not depend on each other: where the lack of a row
 * would change what follows from the others, as of a wave of a rollout, a client from `checkedRowsOf` is to be used, which throws.
 */
export function createReadableClient(client: QueryClient, onUnreadable: OnUnreadable): QueryClient {
  return withReads(client, (model, property) => ({ findMany: (args = {}) => readMany({ property, model, onUnreadable }, args) }));
}

/** Returns a client whose reads throw where a time of a row is none: by itself, Prisma returns an invalid date. */
export function createCheckedClient(client: QueryClient): QueryClient {
  const checkOne = (row: object | null) => (row === null ? null : checkDates(row));
  return withReads(client, (model) => ({
    findMany: async (args = {}) => (await model.findMany(args)).map(checkDates),
    findFirst: async (args = {}) => checkOne(await model.findFirst(args)),
    findUnique: async (args = {}) => checkOne(await model.findUnique(args)),
  }));
}

type Reads = Readonly<Record<string, (args?: Arguments) => Promise<unknown>>>;

/** A client with other reads of the tables. */
function withReads(client: QueryClient, readsOf: (model: Model, property: TableName) => Reads): QueryClient {
  const models = new Map<string | symbol, unknown>();
  return new Proxy(client, {
    get(target, property) {
      const known = models.get(property);
      if (known !== undefined) return known;
      const model: unknown = Reflect.get(target, property);
      if (!isTable(property) || !isModel(model)) return model;
      const reads = readsOf(model, property);
      const made = new Proxy(model, {
        get: (of, name) => (typeof name === 'string' && Object.hasOwn(reads, name) ? reads[name] : Reflect.get(of, name)),
      });
      models.set(property, made);
      return made;
    },
  });
}

/** What a client from `readableRowsOf` found, with marks in the places of the rows that it left out. */
export function restoreMarks<Row extends object>(found: readonly Row[]): MarkedRows<Row> {
  const rows: MarkedRows<Row> = [...found];
  for (const { index, row } of omittedRows.get(found) ?? []) rows.splice(index, 0, row);
  return rows;
}

/** Changes the rows, and leaves the marks. */
export function mapReadable<Row extends object, Item>(rows: MarkedRows<Row>, toItem: (row: Row) => Item): MarkedRows<Item> {
  return rows.map((row) => (row instanceof UnreadableRow ? row : toItem(row)));
}

/** The rows without the marks. */
export function withoutMarks<Row extends object>(rows: MarkedRows<Row>): Row[] {
  return rows.flatMap((row) => (row instanceof UnreadableRow ? [] : [row]));
}

/** Positions in lists of rows that cannot be decoded. */
export const unreadablePosition = {
  byTime: ({ id, sortedBy }: UnreadableRow): PageByTime['after'] => (sortedBy instanceof Date ? { time: sortedBy, key: id } : null),
  byTimeAndNumber: ({ id, sortedBy }: UnreadableRow): PageByTime<number>['after'] =>
    sortedBy instanceof Date ? { time: sortedBy, key: Number(id) } : null,
  byNumber: ({ sortedBy }: UnreadableRow): PageByNumber['after'] => (typeof sortedBy === 'number' ? { number: sortedBy } : null),
  byName: ({ sortedBy }: UnreadableRow): PageByName['after'] => (typeof sortedBy === 'string' ? { name: sortedBy } : null),
};

/** How rows are read one by one. */
export type RowReader<Key, Row extends object> = {
  readonly nameOf: (key: Key) => RowName;
  /** Returns null if the row was deleted. */
  readonly read: (key: Key) => Promise<Row | null>;
  readonly sortedBy: (key: Key) => Promise<UnreadableRow['sortedBy']> | UnreadableRow['sortedBy'];
  readonly onUnreadable: OnUnreadable;
};

/** Reads rows one by one, in the order of their keys; a row that was deleted meanwhile is left out. */
export async function readOneByOne<Key, Row extends object>(
  keys: readonly Key[],
  { nameOf, read, sortedBy, onUnreadable }: RowReader<Key, Row>,
): Promise<MarkedRows<Row>> {
  const rows: MarkedRows<Row> = [];
  for (const key of keys) {
    try {
      const row = await read(key);
      if (row !== null) rows.push(checkDates(row));
    } catch (error) {
      if (!isDecodeError(error)) throw error;
      const mark = new UnreadableRow(nameOf(key), error, await sortedBy(key));
      onUnreadable(mark);
      rows.push(mark);
    }
  }
  return rows;
}

/** Reads rows; where one of them cannot be decoded, reads them another way. */
export async function readOrFallBack<Rows extends readonly object[], Others>(
  read: () => Promise<Rows>,
  readOtherwise: () => Promise<Others>,
): Promise<Rows | Others> {
  try {
    const rows = await read();
    for (const row of rows) checkDates(row);
    return rows;
  } catch (error) {
    if (!isDecodeError(error)) throw error;
    return readOtherwise();
  }
}

/** Whether a row is there and cannot be decoded. */
export async function isUndecodable(client: QueryClient, { model: property, where }: RowLocation): Promise<boolean> {
  const model: unknown = Reflect.get(client, property);
  if (!isModel(model)) return false;
  const found = await readOrFallBack(
    () => model.findMany({ where, take: 1 }),
    async () => null,
  );
  return found === null;
}

type Reading = { readonly property: TableName; readonly model: Model; readonly onUnreadable: OnUnreadable };

function readMany({ property, model, onUnreadable }: Reading, args: Arguments): Promise<object[]> {
  const { kind, key, name } = tables[property];
  return readOrFallBack(
    () => model.findMany(args),
    async () => {
      const { select, include, omit, ...which } = args;
      const keys = await model.findMany({ ...which, select: Object.fromEntries(key.map((column) => [column, true])) });
      const shape = Object.fromEntries(Object.entries({ select, include, omit }).filter(([, shown]) => shown !== undefined));
      const rows = await readOneByOne(keys.map(cellsOf), {
        nameOf: (where) => ({ kind, id: name.map((column) => String(where[column])).join('/'), location: { model: property, where } }),
        read: async (where) => (await model.findMany({ ...shape, where, take: 1 }))[0] ?? null,
        sortedBy: (where) => sortedByOf(model, where, args),
        onUnreadable,
      });
      const found = withoutMarks(rows);
      omittedRows.set(
        found,
        rows.flatMap((row, index) => (row instanceof UnreadableRow ? [{ index, row }] : [])),
      );
      return found;
    },
  );
}

const cellsOf = (row: object): Cells => Object.fromEntries(Object.entries(row));

/** The first and the last moment of a list, as cursors have them. */
const times = { first: new Date('0001-01-01T00:00:00.000Z'), last: new Date(8.64e15), middle: new Date(0) };
const numbers = { first: -(2 ** 31), last: 2 ** 31 - 1, middle: 0 };
/** Columns with numbers by which rows are sorted; others by which they are sorted and that may be undecodable have times. */
const numberColumns: ReadonlySet<string> = new Set(['level', 'index', 'number', 'position', 'size']);

/** The value by which a row is sorted. */
async function sortedByOf(model: Model, where: Cells, { orderBy }: Arguments): Promise<UnreadableRow['sortedBy']> {
  const [column, order] = firstOrder(orderBy);
  if (column === null) return null;
  try {
    const [row] = await model.findMany({ where, select: { [column]: true }, take: 1 });
    const cell = row === undefined ? null : cellsOf(checkDates(row))[column];
    if (cell instanceof Date || typeof cell === 'number' || typeof cell === 'string') return cell;
  } catch (error) {
    if (!isDecodeError(error)) throw error;
  }
  const isBefore = async (middle: Date | number) => (await model.count({ where: { AND: [where, { [column]: { lt: middle } }] } })) > 0;
  return numberColumns.has(column) ? boundOf(numbers, order, isBefore) : boundOf(times, order, isBefore);
}

/**
 * The value that takes the place of one that cannot be decoded. The database compares such values as well: they are all before, or all after, those that
 * can be decoded. Null: none that can be decoded follow.
 */
async function boundOf<Value extends Date | number>(
  { first, last, middle }: { readonly first: Value; readonly last: Value; readonly middle: Value },
  order: string,
  isBefore: (middle: Value) => Promise<boolean>,
): Promise<Value | null> {
  const isEarly = await isBefore(middle);
  if (isEarly === (order === 'desc')) return null;
  return isEarly ? first : last;
}

/** The bound of a time that cannot be decoded. */
export const timeBound = (order: string, isBefore: (middle: Date) => Promise<boolean>) => boundOf(times, order, isBefore);

/** The column by which a query of Prisma sorts first, and its direction. */
function firstOrder(orderBy: unknown): [column: string | null, order: string] {
  const first: unknown = Array.isArray(orderBy) ? orderBy[0] : orderBy;
  if (typeof first !== 'object' || first === null) return [null, 'asc'];
  const [entry] = Object.entries(first);
  return entry === undefined ? [null, 'asc'] : [entry[0], String(entry[1])];
}

const isTable = (property: string | symbol): property is TableName => typeof property === 'string' && Object.hasOwn(tables, property);

function isModel(value: unknown): value is Model {
  return typeof value === 'object' && value !== null && 'findMany' in value && typeof value.findMany === 'function' && 'count' in value;
}
