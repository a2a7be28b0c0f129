// Opens the tracer that the environment of a process configures.

import { openTracer, TracingSettingError } from '../../tracing/open-telemetry.ts';
import type { Tracer } from '../../tracing/tracer.ts';
import { UsageError } from '../errors.ts';

/** Returns null if the environment configures no traces. @param serviceName `service.name` of the spans. @throws {UsageError} */
export async function openConfiguredTracer(serviceName: string): Promise<Tracer | null> {
  try {
    return await openTracer(process.env, serviceName);
  } catch (error) {
    throw error instanceof TracingSettingError ? new UsageError(error.message) : error;
  }
}
