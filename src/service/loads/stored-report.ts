// Encodes load reports for the database: steps without property names and with short times, so that two reports fit on one database page.

import type { LoadReport } from '../../protocol/load-report.ts';
import type { Prisma } from '../database/generated/client.ts';

/** The properties of a step whose values are stored, in this order. New ones can be appended. */
const stepProperties = [
  'step',
  'operation',
  'at',
  'startedMicroseconds',
  'microseconds',
  'facts',
  'module',
] as const satisfies readonly (keyof Step)[];
type Step = LoadReport['steps'][number];

/** Encodes a report. */
export function encodeReport({ steps, ...report }: LoadReport): string {
  const encoded = steps.map((step) => {
    const values = stepProperties.map((property) => (property === 'at' ? encodeTime(step.at) : step[property]));
    // Only the steps about one member of a patch set have a module, the last property.
    return step.module === undefined ? values.slice(0, -1) : values;
  });
  return JSON.stringify({ ...report, steps: encoded });
}

/** Encodes a time in UTC with milliseconds as the milliseconds since 1970, which are half as long; any other text stays as it is. */
function encodeTime(at: string): string | number {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) || time.toISOString() !== at ? at : time.getTime();
}

/** Decodes a stored report. Older reports were stored without encoding, and are returned unchanged. */
export function decodeReport(stored: Prisma.JsonValue): Prisma.JsonValue {
  const steps = isObject(stored) ? stored['steps'] : null;
  if (!isObject(stored) || !Array.isArray(steps)) return stored;
  const named = (step: readonly Prisma.JsonValue[]) =>
    Object.fromEntries(
      stepProperties
        .filter((property, index) => property !== 'module' || index < step.length)
        .map((property, index) => [property, decodeValue(property, step[index] ?? null)]),
    );
  return { ...stored, steps: steps.map((step) => (Array.isArray(step) ? named(step) : step)) };
}

function decodeValue(property: keyof Step, value: Prisma.JsonValue): Prisma.JsonValue {
  const isTime = property === 'at' && typeof value === 'number' && Math.abs(value) <= maximumTime;
  return isTime ? new Date(value).toISOString() : value;
}

/** Largest time of a `Date`, in milliseconds since 1970 (ECMAScript 21.4.1.1). */
const maximumTime = 8.64e15;

function isObject(value: Prisma.JsonValue): value is Prisma.JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
