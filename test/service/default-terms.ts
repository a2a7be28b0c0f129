// Default terms of loads in tests.

import { LoadPolicy } from '../../src/protocol/load-report.ts';
import type { LoadTerms } from '../../src/service/loads/batches.ts';

/** The default policy of the API. */
export const defaultPolicy = LoadPolicy.parse({ strategy: 'inject', invalidation: 'nx' });
export const defaultTerms: LoadTerms = { ...defaultPolicy, deadlineSeconds: 600, supersede: false, overrideMaintenanceWindow: null };
