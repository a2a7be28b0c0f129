// How a load is carried out where a test does not care.

import { LoadPolicy } from '../../src/protocol/load-report.ts';
import type { LoadTerms } from '../../src/service/loads/batches.ts';

/** As it is where nothing else is said. */
export const defaultPolicy = LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx' });
export const defaultTerms: LoadTerms = { ...defaultPolicy, deadlineSeconds: 600, supersede: false };
