// How the forecasts of a dry run are printed: shared by `load`, `unload` and `rollout create`.

import type { Schemas } from '../../client/client.ts';
import { forecastRefuses } from '../../client/enum-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { formatTable } from '../terminal/table.ts';

/** Maximum number of refusing devices, and of warnings, that a preview lists. */
const rowLimit = 100;

type Forecast = Omit<Schemas['PreviewedLoad'] | Schemas['PreviewedUnload'], 'skipped'>;
/** A column of a preview, besides those of each forecast. */
type Column<Item> = { readonly heading: string; readonly cell: (item: Item) => string | number };

/** Returns the number of unreachable devices and what happens to them; nothing if all are reachable. */
export function formatUnreachable({ unreachable, skipped }: { readonly unreachable: number; readonly skipped: number }): string[] {
  return [
    ...(skipped === 0 ? [] : [`skipped, because they are on unreachable hosts: ${skipped}`]),
    ...(unreachable === skipped ? [] : [`on unreachable hosts, so that their loads would wait: ${unreachable - skipped}`]),
  ];
}

/** Returns the devices that would refuse the load, grouped by forecast. @param items Those that would get a load. */
export function formatRefusals<Item extends Forecast>(items: readonly Item[], columns: readonly Column<Item>[] = []): string[] {
  const refusing = items.filter(({ forecast }) => forecastRefuses[forecast]);
  if (refusing.length === 0) return [];
  const sorted = refusing.toSorted((left, right) => left.forecast.localeCompare(right.forecast));
  const counts = [...Map.groupBy(refusing, ({ forecast }) => forecast)].map(([forecast, { length }]) => `${forecast} ${length}`);
  const rows = sorted
    .slice(0, rowLimit)
    .map((item) => [
      item.forecast,
      item.deviceName,
      ...columns.map(({ cell }) => cell(item)),
      item.currentVersion ?? '-',
      item.reason ?? '',
    ]);
  const more = refusing.length - rowLimit;
  return [
    '',
    ...formatTable(['FORECAST', 'DEVICE', ...columns.map(({ heading }) => heading), 'INSTALLED', 'REASON'], rows),
    ...(more > 0 ? [`and ${more} more; total ${counts.join(', ')}; --json lists all`] : []),
  ];
}

/** Returns each warning with its number of devices. @param items Those that would get a load. */
export function formatWarnings(items: readonly Pick<Forecast, 'warnings'>[]): string[] {
  const counted = [
    ...Map.groupBy(
      items.flatMap(({ warnings }) => warnings),
      (warning) => warning,
    ),
  ];
  return counted
    .slice(0, rowLimit)
    .map(([warning, { length }]) => `warning: on ${formatDeviceCount(length)}, ${warning}`)
    .flatMap((line, index) => (index === 0 ? ['', line] : [line]));
}
