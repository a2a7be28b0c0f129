// Translates label selectors into SQL: for lists, which Prisma reads, and for statements of Kysely, which select devices in transactions.

import { type Expression, type ExpressionBuilder, type ExpressionWrapper, expressionBuilder, type SqlBool } from 'kysely';
import type { LabelRequirement, LabelSelector } from '../../protocol/label-selector.ts';
import { Prisma } from './generated/client.ts';
import type { Tables } from './tables.ts';

/** Returns the condition for the labels that a requirement names, whether it requires or excludes them. The index (key, value, deviceId) finds them. */
export function labelsOfRequirement({ key, values }: LabelRequirement): { key: string; value?: string | { in: string[] } } {
  if (values === null) return { key };
  const [value, ...others] = values;
  return { key, value: value !== undefined && others.length === 0 ? value : { in: [...values] } };
}

/** Returns the conditions for devices that match a selector. */
export function deviceConditions(selector: LabelSelector): Prisma.DeviceWhereInput[] {
  return selector.map((requirement) => {
    if ('anyOf' in requirement) return { OR: requirement.anyOf.map((one) => ({ AND: deviceConditions(one) })) };
    const labels = labelsOfRequirement(requirement);
    return { labels: requirement.isNegated ? { none: labels } : { some: labels } };
  });
}

/** Returns the same as an expression. Required labels are a subquery of their own, so that the database can begin with them. */
export function matchesSelector(
  builder: ExpressionBuilder<Tables, 'Device'>,
  selector: LabelSelector,
): ExpressionWrapper<Tables, 'Device', SqlBool> {
  const { and, eb, exists, not, or, selectFrom } = builder;
  return and(
    selector.map((condition) => {
      if ('anyOf' in condition) return or(condition.anyOf.map((one) => matchesSelector(builder, one)));
      const { key, values, isNegated } = condition;
      const withKey = selectFrom('DeviceLabel').select('DeviceLabel.deviceId').where('key', '=', key);
      const labels = values === null ? withKey : withKey.where('value', 'in', [...values]);
      return isNegated ? not(exists(labels.whereRef('DeviceLabel.deviceId', '=', 'Device.id'))) : eb('Device.id', 'in', labels);
    }),
  );
}

/** Returns whether the device with an identifier matches a selector. Looks up the labels of that device, where `matchesSelector` finds all devices. */
export function deviceMatches(deviceId: Expression<string>, selector: LabelSelector): Expression<SqlBool> {
  const { and, exists, not, or, selectFrom } = expressionBuilder<Tables, never>();
  return and(
    selector.map((condition) => {
      if ('anyOf' in condition) return or(condition.anyOf.map((one) => deviceMatches(deviceId, one)));
      const { key, values, isNegated } = condition;
      const withKey = selectFrom('DeviceLabel')
        .select('DeviceLabel.key')
        .where('DeviceLabel.deviceId', '=', deviceId)
        .where('key', '=', key);
      // With the offset, PostgreSQL looks up the labels of each device, instead of joining those of all devices.
      const labels = (values === null ? withKey : withKey.where('value', 'in', [...values])).limit(1).offset(0);
      return isNegated ? not(exists(labels)) : exists(labels);
    }),
  );
}

/** Returns the same for a statement of Prisma. */
export function deviceMatchesSql(deviceId: Prisma.Sql, selector: LabelSelector): Prisma.Sql {
  const conditions = selector.map((condition) => {
    if ('anyOf' in condition) return anyOfSql(condition.anyOf.map((one) => deviceMatchesSql(deviceId, one)));
    const { key, values, isNegated } = condition;
    const withValue = values === null ? Prisma.empty : Prisma.sql`AND "label"."value" IN (${Prisma.join([...values])})`;
    const labels = Prisma.sql`EXISTS (
      SELECT 1 FROM "DeviceLabel" AS "label" WHERE "label"."deviceId" = ${deviceId} AND "label"."key" = ${key} ${withValue})`;
    return isNegated ? Prisma.sql`NOT ${labels}` : labels;
  });
  return conditions.length === 0 ? Prisma.sql`1 = 1` : Prisma.join(conditions, ' AND ');
}

function anyOfSql(alternatives: readonly Prisma.Sql[]): Prisma.Sql {
  return alternatives.length === 0 ? Prisma.sql`1 = 0` : Prisma.sql`((${Prisma.join([...alternatives], ') OR (')}))`;
}
