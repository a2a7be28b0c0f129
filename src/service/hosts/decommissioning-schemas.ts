// What hosts and devices share in the API: how they were decommissioned, and how decommissioned ones are listed.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';
import { exampleIdentifier } from '../../protocol/identifiers.ts';
import { timestamp } from '../http/common-schemas.ts';
import { invalidQuery } from '../problem.ts';

export const Decommissioned = z
  .object({
    at: timestamp,
    reason: z.string(),
    by: z.string().describe('Identifier of the API key of the request.'),
  })
  .meta({
    id: 'Decommissioned',
    examples: [{ at: exampleTimes.completed, reason: 'the rack was scrapped', by: exampleIdentifier('key') }],
  });

/** The columns of a host or device. */
type Columns = {
  readonly decommissionedAt: Date | null;
  readonly decommissionReason: string | null;
  readonly decommissionedBy: string | null;
};

/** Returns how a host or device was decommissioned; null if it was not. */
export function toDecommissioned({
  decommissionedAt,
  decommissionReason,
  decommissionedBy,
}: Columns): z.infer<typeof Decommissioned> | null {
  if (decommissionedAt === null) return null;
  return { at: decommissionedAt.toISOString(), reason: decommissionReason ?? '', by: decommissionedBy ?? '' };
}

/** Rejects a list of decommissioned objects by name: their names are not unique, and pages by name need unique names. @throws {Problem} `invalid-value`. */
export function rejectNameOrder(sort: string, status: string | undefined): void {
  if (sort === 'name' && status === 'decommissioned')
    throw invalidQuery('sort', 'decommissioned objects cannot be sorted by name, because names can repeat: leave out `sort`');
}
