// Fault-tolerant reads of independent rows: a row that cannot be decoded is omitted, reported and marked, and the others are returned. Only a failed read is
// repeated row by row, so tables without such rows are read at full speed.

import type { Prisma } from './generated/client.ts';
import type { PageByName, PageByNumber, PageByTime } from './page.ts';
import type { QueryClient } from './query-client.ts';
import { checkDates, isDecodeError, type RowLocation, type RowName, UndecodableRow } from './undecodable-row.ts';

/** Called with each row that cannot be decoded. */
export type OnUndecodable = (row: UndecodableRow) => void;

/** Rows of a list, with a marker in the place of each row that cannot be decoded. */
export type MarkedRows<Row> = (Row | UndecodableRow)[];

/** The name of a table in the Prisma client. */
type TableName = Uncapitalize<Prisma.ModelName>;
type Cells = Readonly<Record<string, unknown>>;
type Arguments = Cells;

/** The kind of a table's rows, its key columns, and the columns that name a row. */
type Table = { readonly kind: string; readonly key: readonly string[]; readonly name: readonly string[] };

const table = (kind: string, key: readonly string[] = ['id'], name = key): Table => ({ kind, key, name });

/** The kinds equal those of the lists, so that a row has the same name wherever it is read. */
const tables: Readonly<Record<TableName, Table>> = {
  abiViolation: table('ABI violation', ['number']),
  agentOrder: table('order'),
  apiKey: table('key'),
  assignment: table('assignment'),
  assignmentRollout: table('assignment rollout', ['assignmentId', 'version']),
  auditEvent: table('audit event', ['number']),
  auditHead: table('audit head'),
  auditTile: table('audit tile', ['level', 'index']),
  build: table('build'),
  channel: table('channel'),
  channelPromotion: table('promotion'),
  checkpoint: table('checkpoint', ['size']),
  desiredState: table('desired state', ['deviceId', 'assignmentId']),
  device: table('device'),
  deviceGroup: table('group'),
  deviceLabel: table('device label', ['deviceId', 'key']),
  deviceModule: table('device module', ['deviceId', 'module']),
  deviceOrigin: table('device origin', ['deviceId', 'hostId']),
  fleetExamination: table('fleet examination'),
  heldOrder: table('held order'),
  historyEntry: table('history entry', ['number']),
  host: table('host'),
  hostBoot: table('host boot', ['hostId', 'bootId']),
  idempotentResponse: table('idempotent response', ['actor', 'key']),
  image: table('image', ['digest']),
  load: table('load'),
  loadBatch: table('load batch'),
  loadReport: table('load report', ['loadId']),
  loadTotal: table('load total', ['outcome']),
  moduleDependent: table('module dependent', ['provider', 'importer']),
  parkedEvent: table('parked event', ['webhookId', 'number'], ['number']),
  patchSet: table('patch set'),
  patchSetMember: table('patch set member', ['patchSetId', 'module']),
  program: table('program'),
  publisherKey: table('publisher key'),
  retentionTime: table('retention time'),
  rollout: table('rollout'),
  rolloutDevice: table('rollout device', ['rolloutId', 'deviceId'], ['deviceId']),
  rolloutWave: table('rollout wave', ['rolloutId', 'number']),
  session: table('session'),
  signaturePolicy: table('signature policy'),
  signingKey: table('signing key'),
  user: table('user'),
  webhook: table('webhook'),
};

export const tableNames = Object.keys(tables);

/** The reads of a table in the Prisma client. */
type Model = {
  readonly findMany: (args: Arguments) => Promise<object[]>;
  readonly findFirst: (args: Arguments) => Promise<object | null>;
  readonly findUnique: (args: Arguments) => Promise<object | null>;
  readonly count: (args: Arguments) => Promise<number>;
};

/** The rows that `findMany` omitted from a result, with their positions. */
const omittedRows = new WeakMap<readonly object[], readonly { readonly index: number; readonly row: UndecodableRow }[]>();

/**
 * Returns a client whose `findMany` omits rows that cannot be decoded. Use it for independent rows only: if a missing row would change a decision, for example
 * about a wave of a rollout, use `createCheckedClient`, whose reads throw.
 */
export function createReadableClient(client: QueryClient, onUndecodable: OnUndecodable): QueryClient {
  return withReads(client, (model, property) => ({ findMany: (args = {}) => readMany({ property, model, onUndecodable }, args) }));
}

/** Returns a client whose reads throw if a time of a row is invalid: Prisma itself returns an invalid `Date`. */
export function createCheckedClient(client: QueryClient): QueryClient {
  const checkOne = (row: object | null) => (row === null ? null : checkDates(row));
  return withReads(client, (model) => ({
    findMany: async (args = {}) => (await model.findMany(args)).map(checkDates),
    findFirst: async (args = {}) => checkOne(await model.findFirst(args)),
    findUnique: async (args = {}) => checkOne(await model.findUnique(args)),
  }));
}

type Reads = Readonly<Record<string, (args?: Arguments) => Promise<unknown>>>;

/** Returns a client that replaces reads of the tables. */
function withReads(client: QueryClient, readsOf: (model: Model, property: TableName) => Reads): QueryClient {
  const models = new Map<string | symbol, unknown>();
  return new Proxy(client, {
    get(target, property) {
      const known = models.get(property);
      if (known !== undefined) return known;
      const model: unknown = Reflect.get(target, property);
      if (!isTable(property) || !isModel(model)) return model;
      const reads = readsOf(model, property);
      const proxy = new Proxy(model, {
        get: (inner, name) => (typeof name === 'string' && Object.hasOwn(reads, name) ? reads[name] : Reflect.get(inner, name)),
      });
      models.set(property, proxy);
      return proxy;
    },
  });
}

/** Returns the result of a client from `createReadableClient` with markers in the positions of the omitted rows. */
export function restoreMarks<Row extends object>(found: readonly Row[]): MarkedRows<Row> {
  const rows: MarkedRows<Row> = [...found];
  for (const { index, row } of omittedRows.get(found) ?? []) rows.splice(index, 0, row);
  return rows;
}

/** Maps the rows and keeps the markers. */
export function mapReadable<Row extends object, Item>(rows: MarkedRows<Row>, toItem: (row: Row) => Item): MarkedRows<Item> {
  return rows.map((row) => (row instanceof UndecodableRow ? row : toItem(row)));
}

/** Returns the rows without the markers. */
export function withoutMarks<Row extends object>(rows: MarkedRows<Row>): Row[] {
  return rows.flatMap((row) => (row instanceof UndecodableRow ? [] : [row]));
}

/** Positions of undecodable rows in lists. */
export const undecodablePosition = {
  byTime: ({ id, sortedBy }: UndecodableRow): PageByTime['after'] => (sortedBy instanceof Date ? { time: sortedBy, key: id } : null),
  byTimeAndNumber: ({ id, sortedBy }: UndecodableRow): PageByTime<number>['after'] =>
    sortedBy instanceof Date ? { time: sortedBy, key: Number(id) } : null,
  byNumber: ({ sortedBy }: UndecodableRow): PageByNumber['after'] => (typeof sortedBy === 'number' ? { number: sortedBy } : null),
  byName: ({ sortedBy }: UndecodableRow): PageByName['after'] => (typeof sortedBy === 'string' ? { name: sortedBy } : null),
};

/** Reads rows one by one. */
export type RowReader<Key, Row extends object> = {
  readonly nameOf: (key: Key) => RowName;
  /** Returns null if the row was deleted. */
  readonly read: (key: Key) => Promise<Row | null>;
  readonly sortedBy: (key: Key) => Promise<UndecodableRow['sortedBy']> | UndecodableRow['sortedBy'];
  readonly onUndecodable: OnUndecodable;
};

/** Reads rows one by one, in the order of their keys; a row that was deleted meanwhile is omitted. */
export async function readOneByOne<Key, Row extends object>(
  keys: readonly Key[],
  { nameOf, read, sortedBy, onUndecodable }: RowReader<Key, Row>,
): Promise<MarkedRows<Row>> {
  const rows: MarkedRows<Row> = [];
  for (const key of keys) {
    try {
      const row = await read(key);
      if (row !== null) rows.push(checkDates(row));
    } catch (error) {
      if (!isDecodeError(error)) throw error;
      const mark = new UndecodableRow(nameOf(key), error, await sortedBy(key));
      onUndecodable(mark);
      rows.push(mark);
    }
  }
  return rows;
}

/** Reads rows; if one of them cannot be decoded, calls the fallback. */
export async function readOrFallBack<Rows extends readonly object[], Others>(
  read: () => Promise<Rows>,
  fallback: () => Promise<Others>,
): Promise<Rows | Others> {
  try {
    const rows = await read();
    for (const row of rows) checkDates(row);
    return rows;
  } catch (error) {
    if (!isDecodeError(error)) throw error;
    return fallback();
  }
}

/** Returns whether a row exists and cannot be decoded. */
export async function isUndecodable(client: QueryClient, { model: property, where }: RowLocation): Promise<boolean> {
  const model: unknown = Reflect.get(client, property);
  if (!isModel(model)) return false;
  const found = await readOrFallBack(
    () => model.findMany({ where, take: 1 }),
    async () => null,
  );
  return found === null;
}

type Reading = { readonly property: TableName; readonly model: Model; readonly onUndecodable: OnUndecodable };

function readMany({ property, model, onUndecodable }: Reading, args: Arguments): Promise<object[]> {
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
        onUndecodable,
      });
      const found = withoutMarks(rows);
      omittedRows.set(
        found,
        rows.flatMap((row, index) => (row instanceof UndecodableRow ? [{ index, row }] : [])),
      );
      return found;
    },
  );
}

const cellsOf = (row: object): Cells => Object.fromEntries(Object.entries(row));

/** The earliest and the latest time in a cursor, and a time between them. */
const times = { first: new Date('0001-01-01T00:00:00.000Z'), last: new Date(8.64e15), middle: new Date(0) };
const numbers = { first: -(2 ** 31), last: 2 ** 31 - 1, middle: 0 };
/** Numeric sort columns; the other sort columns that may be undecodable contain times. */
const numberColumns: ReadonlySet<string> = new Set(['level', 'index', 'number', 'position', 'size']);

/** Returns the sort value of a row. */
async function sortedByOf(model: Model, where: Cells, { orderBy }: Arguments): Promise<UndecodableRow['sortedBy']> {
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
 * Returns a bound that replaces an undecodable sort value: the database sorts such values all before or all after the decodable ones. Null if no decodable
 * value follows.
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

/** Returns the bound that replaces an undecodable time. */
export const timeBound = (order: string, isBefore: (middle: Date) => Promise<boolean>) => boundOf(times, order, isBefore);

/** Returns the first sort column of a Prisma query and its direction. */
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
