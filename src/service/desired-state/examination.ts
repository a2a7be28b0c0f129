// The examination of the fleet, a part at a time: how far it is, and the numbers of devices by their state. It is stored, so that replicas, which take turns,
// continue one examination.

import { z } from 'zod';
import type { Connection } from '../database/connection.ts';
import { isDamagedRowError } from '../database/damaged-rows.ts';
import { Json } from '../database/json.ts';
import { deviceStates, type Evaluation } from './evaluation.ts';

/** Modes in which an assignment decides for devices. */
const decidingModes = ['report', 'enforce'] as const;

/** Numbers of devices by mode and state, such as `enforce satisfied`. An absent number is 0. */
const Counts = z.record(z.string(), z.int().nonnegative());

const Examination = z.object({
  /** The last device that was examined. Empty before the first. */
  position: z.string(),
  /** The devices up to the position. */
  counts: Counts,
  /** The devices of the last complete examination; null before the first. */
  lastCounts: Counts.nullable(),
});
export type Examination = Readonly<z.infer<typeof Examination>>;

export type DevicesInState = {
  readonly mode: (typeof decidingModes)[number];
  readonly state: (typeof deviceStates)[number];
  readonly devices: number;
};

/** The examination before its first part. */
const begin: Examination = { position: '', counts: {}, lastCounts: null };
/** A complete examination without an assignment that decides for a device. */
export const emptyExamination: Examination = { position: '', counts: {}, lastCounts: {} };
/** The identifier of the single row. */
const id = 1;

export class ExaminationRecords {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Returns the examination. A damaged row counts as none: its only loss is that the examination begins again. */
  async find(): Promise<Examination> {
    try {
      const row = await this.#connection.sql.selectFrom('FleetExamination').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? begin : Examination.parse(row);
    } catch (error) {
      if (isDamagedRowError(error)) return begin;
      throw error;
    }
  }

  async save({ position, counts, lastCounts }: Examination): Promise<void> {
    const values = { position, counts: Json.of(counts), lastCounts: lastCounts === null ? null : Json.of(lastCounts) };
    await this.#connection.sql
      .insertInto('FleetExamination')
      .values({ id, ...values })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(values))
      .execute();
  }
}

/**
 * Returns the examination after its next part. A device counts once per mode, with its worst state.
 * @param position The last device of the part; null if no devices follow it.
 */
export function afterPart({ counts, lastCounts }: Examination, evaluations: readonly Evaluation[], position: string | null): Examination {
  const added = { ...counts };
  const worst = new Map<string, { readonly mode: string; readonly state: string }>();
  for (const { device, assignment, state } of evaluations) {
    const { mode } = assignment.row;
    const key = `${device.id} ${mode}`;
    const before = worst.get(key)?.state ?? '';
    if (ranks.indexOf(state.state) >= ranks.indexOf(before)) worst.set(key, { mode, state: state.state });
  }
  for (const { mode, state } of worst.values()) added[`${mode} ${state}`] = (added[`${mode} ${state}`] ?? 0) + 1;
  return position === null ? { position: '', counts: {}, lastCounts: added } : { position, counts: added, lastCounts };
}

/** Returns the numbers of devices of the last complete examination, also those that are 0; null before the first. */
export function devicesByState({ lastCounts }: Examination): readonly DevicesInState[] | null {
  if (lastCounts === null) return null;
  return decidingModes.flatMap((mode) => deviceStates.map((state) => ({ mode, state, devices: lastCounts[`${mode} ${state}`] ?? 0 })));
}

/** The states from the best to the worst. */
const ranks: readonly string[] = deviceStates;
