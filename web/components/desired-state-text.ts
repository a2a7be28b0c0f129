// Colours of the states of devices under assignments.

import type { Schemas } from '../../src/client/client.ts';
import type { Tone } from './badge.tsx';

export const stateTones: Readonly<Record<Schemas['DesiredStateName'], Tone>> = { satisfied: 'good', pending: 'warn', unsatisfied: 'bad' };
