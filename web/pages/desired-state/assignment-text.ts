// Texts about assignments.

import type { Schemas } from '../../../src/client/client.ts';
import type { Tone } from '../../components/badge.tsx';

export const modeTones: Readonly<Record<Schemas['AssignmentMode'], Tone>> = { off: 'plain', report: 'warn', enforce: 'good' };

/** Returns the module or the patch set of an assignment, with its range. */
export function contentText({ module, patchSet, range }: Pick<Schemas['Assignment'], 'module' | 'patchSet' | 'range'>): string {
  return `${module ?? `${patchSet} (patch set)`} ${range}`;
}

/** Returns the sizes of waves, like `1, 10%, 100%`. */
export function wavesText(waves: readonly (Schemas['AssignmentWave'] | Schemas['NewWave'])[]): string {
  return waves.map(({ devices, upToPercent }) => (devices == null ? `${upToPercent}%` : String(devices))).join(', ');
}
