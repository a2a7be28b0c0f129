// The conditions of `page.ts` as SQL expressions, for lists whose rows are selected by statements of Kysely.

import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import { type Comparison, type PageByTime, type TimeRange, timeConditions } from './page.ts';
import type { Tables } from './tables.ts';

/** Returns the conditions for items in a time range after the previous page. */
export function timeExpressions(
  range: TimeRange,
  page: PageByTime,
  columns: { readonly time: Expression<Date>; readonly key: Expression<string> },
): Expression<SqlBool>[] {
  const time = (comparison: Comparison<Date>) => compare(columns.time, comparison);
  const key = (comparison: Comparison<string>) => compare(columns.key, comparison);
  const conditions = timeConditions<string, Expression<SqlBool>>(range, page, time, key);
  return conditions.map((condition) => ('OR' in condition ? expressionBuilder<Tables, never>().or(condition.OR) : condition));
}

function compare<Cell>(column: Expression<Cell>, comparison: Comparison<Cell>): Expression<SqlBool> {
  if ('gt' in comparison) return sql<SqlBool>`${column} > ${comparison.gt}`;
  if ('gte' in comparison) return sql<SqlBool>`${column} >= ${comparison.gte}`;
  if ('lt' in comparison) return sql<SqlBool>`${column} < ${comparison.lt}`;
  return sql<SqlBool>`${column} <= ${comparison.lte}`;
}
