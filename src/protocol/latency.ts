// How long calls take, as a histogram.

import { z } from 'zod';

export const Latency = z.object({ microseconds: z.array(z.number()), calls: z.array(z.number()) }).meta({ id: 'Latency' });
export type Latency = z.infer<typeof Latency>;

const none: Latency = { microseconds: [], calls: [] };

// Devices do not report it yet.
export const mergeLatencies = (_: readonly Latency[]): Latency => none;
export const subtractLatency = (later: Latency, _: Latency): Latency => later;
export const latencyQuantile = (_: Latency, _quantile: number): number | null => null;
