// Translates label selectors into SQL: for lists, which Prisma reads, and for statements of Kysely, which select devices in transactions.

import type { ExpressionBuilder, ExpressionWrapper, SqlBool } from 'kysely';
import type { LabelRequirement, LabelSelector } from '../../protocol/label-selector.ts';
import type { Prisma } from './generated/client.ts';
import type { Tables } from './tables.ts';

/** Returns the condition for the labels that a requirement names, whether it requires or excludes them. The index (key, value, deviceId) finds them. */
export function labelsOfRequirement({ key, values }: LabelRequirement): { key: string; value?: string | { in: string[] } } {
  if (values === null) return { key };
  const [value, ...others] = values;
  return { key, value: value !== undefined && others.length === 0 ? value : { in: [...values] } };
}

/** Returns the conditions for devices that meet all requirements. */
export function deviceConditions(selector: LabelSelector): Prisma.DeviceWhereInput[] {
  return selector.map((requirement) => {
    const labels = labelsOfRequirement(requirement);
    return { labels: requirement.isNegated ? { none: labels } : { some: labels } };
  });
}

/** Returns the same as an expression. Required labels are a subquery of their own, so that the database can begin with them. */
export function matchesSelector(
  { and, eb, exists, not, selectFrom }: ExpressionBuilder<Tables, 'Device'>,
  selector: LabelSelector,
): ExpressionWrapper<Tables, 'Device', SqlBool> {
  return and(
    selector.map(({ key, values, isNegated }) => {
      const withKey = selectFrom('DeviceLabel').select('DeviceLabel.deviceId').where('key', '=', key);
      const labels = values === null ? withKey : withKey.where('value', 'in', [...values]);
      return isNegated ? not(exists(labels.whereRef('DeviceLabel.deviceId', '=', 'Device.id'))) : eb('Device.id', 'in', labels);
    }),
  );
}
