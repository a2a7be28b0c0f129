// How a load is carried out where a test does not care.

import type { LoadTerms } from '../../src/control/load-batches.ts';

export const usualTerms: LoadTerms = {
  strategy: 'inject',
  invalidation: 'nx',
  drainMilliseconds: null,
  versionPolicy: 'newer',
  downgradeReason: null,
  similarityPolicy: 'require',
  deadlineSeconds: 600,
  supersede: false,
};
