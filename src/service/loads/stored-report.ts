// What a device has reported of a load, as it is kept: steps without the names of their members, so that two reports are on one page of the database.

import type { LoadReport } from '../../protocol/load-report.ts';
import type { Prisma } from '../database/generated/client.ts';

/** Of each step the values of these are kept, in this order. Others can come after them. */
const stepMembers = ['step', 'operation', 'at', 'startedMicroseconds', 'microseconds', 'facts'] as const satisfies readonly (keyof Step)[];
type Step = LoadReport['steps'][number];

/** The report, as it is kept. */
export function encodeReport({ steps, ...report }: LoadReport): string {
  return JSON.stringify({ ...report, steps: steps.map((step) => stepMembers.map((member) => step[member])) });
}

/** What was reported; reports of before are kept as they came. */
export function decodeReport(kept: Prisma.JsonValue): Prisma.JsonValue {
  const steps = isObject(kept) ? kept['steps'] : null;
  if (!isObject(kept) || !Array.isArray(steps)) return kept;
  const named = (step: readonly Prisma.JsonValue[]) =>
    Object.fromEntries(stepMembers.map((member, place) => [member, step[place] ?? null]));
  return { ...kept, steps: steps.map((step) => (Array.isArray(step) ? named(step) : step)) };
}

function isObject(value: Prisma.JsonValue): value is Prisma.JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
