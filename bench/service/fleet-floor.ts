// The floor of a load on a fleet: raw transactions write the same rows as the service into a copy of the earlier database.

import Database from 'better-sqlite3';
import { LoadPolicy } from '../../src/protocol/load-report.ts';
import { splitIntoChunks } from '../../src/service/database/chunks.ts';
import { logPages } from '../../src/service/database/sqlite/engine.ts';
import { newOrder } from '../../src/service/orders/orders.ts';
import { systemActor } from '../../src/service/requester.ts';
import type { DatabaseView } from './database-view.ts';
import type { Installation } from './installation.ts';

/** Devices whose dispatches or reports are in one transaction. */
const atOnce = 500;

type Row = Record<string, unknown>;
/** The rows of one ended load. */
type Rows = {
  readonly load: Row;
  readonly order: Row;
  readonly report: Row;
  readonly device: Row;
  readonly module: Row;
  readonly entered: Row;
  readonly left: Row;
  readonly event: Row;
};

/** The total time, and the time after the transaction of the request. */
export type FloorTimes = { readonly all: number; readonly afterRequest: number };

export class FleetFloor {
  readonly #view: DatabaseView;
  readonly #copy: string;

  /** Copies the database into a file. Call it before the load. */
  constructor({ view }: Installation, copy: string) {
    this.#view = view;
    this.#copy = copy;
    view.copyTo(copy);
  }

  /** Writes the rows of these batches into the copy, and returns the duration in milliseconds. */
  write(batches: readonly string[]): FloorTimes {
    const database = new Database(this.#copy);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma(`wal_autocheckpoint = ${logPages}`);
    const requests = batches.flatMap((batch) => this.#view.rows('SELECT * FROM "AuditEvent" WHERE "object" = ?', batch));
    const loads = batches.flatMap((batch) => this.#rowsOf(batch));
    const [head = {}] = this.#view.rows('SELECT * FROM "AuditHead"');
    const writer = new Writer(database, head);
    const began = performance.now();
    writer.request(requests, loads);
    const request = performance.now() - began;
    for (const some of splitIntoChunks(loads, atOnce)) writer.dispatch(some);
    for (const some of splitIntoChunks(loads, atOnce)) writer.report(some);
    const all = performance.now() - began;
    database.close();
    return { all, afterRequest: all - request };
  }

  /** Returns the rows of each load of a batch. */
  #rowsOf(batch: string): Rows[] {
    const of = (sql: string, key: string) =>
      new Map(this.#view.rows(`WITH batch AS (SELECT * FROM "Load" WHERE "batchId" = ?) ${sql}`, batch).map((row) => [row[key], row]));
    const loads = of('SELECT * FROM batch', 'id');
    const reports = of('SELECT * FROM "LoadReport" WHERE "loadId" IN (SELECT "id" FROM batch)', 'loadId');
    const devices = of('SELECT * FROM "Device" WHERE "id" IN (SELECT "deviceId" FROM batch)', 'id');
    const modules = of('SELECT * FROM "DeviceModule" WHERE ("deviceId", "module") IN (SELECT "deviceId", "module" FROM batch)', 'deviceId');
    const residencies =
      'SELECT stay.* FROM batch JOIN "HistoryEntry" AS stay ON stay."deviceId" = batch."deviceId" AND stay."module" = batch."module"';
    const entered = of(`${residencies} WHERE stay."loadId" = batch."id"`, 'loadId');
    const left = of(`${residencies} WHERE stay."replacedByLoadId" = batch."id"`, 'replacedByLoadId');
    const events = of(
      `SELECT event.* FROM batch JOIN "AuditEvent" AS event ON event."object" = batch."id" WHERE event."action" = 'load.completed'`,
      'object',
    );
    const rows = [...loads.values()].map((load) => {
      const { id, deviceId } = load;
      const [device, module] = [devices.get(deviceId), modules.get(deviceId)];
      const [report, enters, leaves, event] = [reports.get(id), entered.get(id), left.get(id), events.get(id)];
      if (!device || !module || !report || !enters || !leaves || !event) throw new Error(`rows of load ${id} are missing`);
      return { load, order: orderOf(load, device, enters), device, module, report, entered: enters, left: leaves, event };
    });
    return rows;
  }
}

/** Rebuilds the order of a load, which is deleted when the load ends; only its identifier differs. */
function orderOf(load: Row, { hostId }: Row, { imageDigest }: Row): Row {
  const { id, deviceId, requestedAt, module, version, deadlineAt } = load;
  const policy = Object.fromEntries(Object.keys(LoadPolicy.shape).map((name) => [name, load[name]]));
  const deadline = new Date(Number(deadlineAt)).toISOString();
  const content = { kind: 'load' as const, load: id, module, version, image: imageDigest, ...policy, deadline, demands: [] };
  const { body, ...order } = newOrder(
    { id: String(deviceId), hostId: String(hostId) },
    content,
    systemActor,
    new Date(Number(requestedAt)),
  );
  return { ...order, body: JSON.stringify(body), createdAt: requestedAt };
}

/** Statements are prepared once, and the rows are in memory. */
class Writer {
  readonly request: (requests: readonly Row[], loads: readonly Rows[]) => void;
  readonly dispatch: (loads: readonly Rows[]) => void;
  readonly report: (loads: readonly Rows[]) => void;

  constructor(database: Database.Database, head: Row) {
    const insert = (table: string, row: Row) => {
      const columns = Object.keys(row);
      return database.prepare<[Row]>(
        `INSERT OR REPLACE INTO "${table}" (${columns.map((column) => `"${column}"`).join(', ')}) VALUES (${columns.map((column) => `@${column}`).join(', ')})`,
      );
    };
    const update = (table: string, columns: readonly string[], key = 'id') =>
      database.prepare<[Row]>(
        `UPDATE "${table}" SET ${columns.map((column) => `"${column}" = @${column}`).join(', ')} WHERE "${key}" = @${key}`,
      );
    const setHead = update('AuditHead', ['number', 'hash', 'at']);

    this.request = database.transaction((requests, loads) => {
      const [first] = loads;
      if (first === undefined) return;
      const addLoad = insert('Load', first.load);
      const addOrder = insert('AgentOrder', first.order);
      for (const { load } of loads) addLoad.run({ ...load, ...notDispatched, ...notCompleted });
      for (const { order } of loads) addOrder.run(order);
      for (const event of requests) insert('AuditEvent', event).run(event);
      setHead.run(head);
    });

    const sendLoad = update('Load', ['state', 'dispatchedAt']);
    this.dispatch = database.transaction((loads) => {
      for (const { load } of loads) sendLoad.run({ ...load, state: 'dispatched' });
    });

    const endLoad = update('Load', ['state', ...Object.keys(notCompleted)]);
    const settle = database.prepare<[Row]>('DELETE FROM "AgentOrder" WHERE "id" = @id');
    const leave = update('HistoryEntry', ['removedAt', 'removalCause', 'replacedByLoadId', 'invalidation', 'interrupted'], 'number');
    const setState = update('Device', ['state', 'stateReportedAt']);
    this.report = database.transaction((loads) => {
      const [first] = loads;
      if (first === undefined) return;
      const addReport = insert('LoadReport', first.report);
      const enter = insert('HistoryEntry', first.entered);
      const setModule = insert('DeviceModule', first.module);
      const addEvent = insert('AuditEvent', first.event);
      for (const { load, order, report, left, entered, module, device, event } of loads) {
        endLoad.run(load);
        addReport.run(report);
        settle.run(order);
        leave.run(left);
        enter.run(entered);
        setModule.run(module);
        setState.run(device);
        addEvent.run(event);
      }
      setHead.run(head);
    });
  }
}

const notDispatched = { state: 'queued', dispatchedAt: null };
const notCompleted = { outcome: null, reason: null, interrupted: null, retried: null, failed: null, completedAt: null };
