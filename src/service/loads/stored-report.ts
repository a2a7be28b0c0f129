// Encodes load reports for the database: steps without property names, so that two reports fit on one database page.

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
] as const satisfies readonly (keyof Step)[];
type Step = LoadReport['steps'][number];

/** Encodes a report. */
export function encodeReport({ steps, ...report }: LoadReport): string {
  return JSON.stringify({ ...report, steps: steps.map((step) => stepProperties.map((property) => step[property])) });
}

/** Decodes a stored report. Older reports were stored without encoding, and are returned unchanged. */
export function decodeReport(stored: Prisma.JsonValue): Prisma.JsonValue {
  const steps = isObject(stored) ? stored['steps'] : null;
  if (!isObject(stored) || !Array.isArray(steps)) return stored;
  const named = (step: readonly Prisma.JsonValue[]) =>
    Object.fromEntries(stepProperties.map((property, index) => [property, step[index] ?? null]));
  return { ...stored, steps: steps.map((step) => (Array.isArray(step) ? named(step) : step)) };
}

function isObject(value: Prisma.JsonValue): value is Prisma.JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
