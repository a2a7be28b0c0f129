// Predicts by their module tables which devices would refuse a load because of unresolved links.

import { type DrainConflict, findDrainConflict } from '../../machine/isolation/drain-conflict.ts';
import { checkLinks, describeLinks, type LinkDecision, type LinkedModule } from '../../machine/isolation/link-policy.ts';
import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { toLinkedModule } from '../modules/linked-module.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';

/** A module that a device reported as in memory. */
type ReportedModule = { readonly module: string; readonly version: string; readonly image: string };
/** A reported module table. Devices with the same modules share one, so that 10,000 of them are decided by few checks. */
export type ReportedTable = readonly ReportedModule[];

/** Keeps one copy of equal module tables. */
export class SharedTables {
  readonly #tables = new Map<string, ReportedTable>();

  /** Returns an equal table that was passed before, or this one. */
  share(table: ReportedTable): ReportedTable {
    const key = JSON.stringify(table.map(({ module, image }) => [module, image]));
    const known = this.#tables.get(key) ?? table;
    this.#tables.set(key, known);
    return known;
  }

  get all(): ReportedTable[] {
    return [...this.#tables.values()];
  }
}

export type LinkForecast = {
  /** Why a patch set could not drain; null if it can, or for a build. */
  readonly drainConflict: DrainConflict['refusal'] | null;
  readonly refusal: LinkDecision['refusal'];
  /** Why the links could not be checked; otherwise null. */
  readonly unknown: string | null;
  /** The unresolved links with which the device would load the module, because of the policy `warn`. */
  readonly warnings: readonly string[];
};

const noRefusal: LinkForecast = { drainConflict: null, refusal: null, unknown: null, warnings: [] };

/** The builds that arrive together, and may import each other. */
type Arriving = { readonly isPatchSet: boolean; readonly builds: readonly BuildRecord[] };

/** Returns the forecast of a load for each shared table. */
export async function forecastLinks(
  connection: Connection,
  { isPatchSet, builds }: Arriving,
  tables: SharedTables,
  { linkPolicy, strategy }: Pick<LoadPolicy, 'linkPolicy' | 'strategy'>,
): Promise<(table: ReportedTable) => LinkForecast> {
  if (linkPolicy === 'off' && !isPatchSet) return () => noRefusal;
  const images = new Set(tables.all.flatMap((table) => table.map(({ image }) => image)));
  const modules = await readLinkedModules(connection, [...images]);
  const arriving = builds.map(toLinkedModule);
  const forecastOf = (table: ReportedTable): LinkForecast => {
    const inMemory = table.flatMap(({ image }) => modules.get(image) ?? []);
    const drainConflict = isPatchSet ? (findDrainConflict({ arriving, inMemory }, strategy)?.refusal ?? null) : null;
    if (linkPolicy === 'off') return { ...noRefusal, drainConflict };
    const unknown = table.find(({ image }) => !modules.has(image));
    if (unknown !== undefined) return { ...noRefusal, drainConflict, unknown: unknownModuleMessage(unknown) };
    const { refusal, unresolved } = checkLinks({ arriving, inMemory }, linkPolicy);
    return { drainConflict, refusal, unknown: null, warnings: refusal === null ? describeLinks(unresolved, { arriving }) : [] };
  };
  const forecasts = new Map(tables.all.map((table) => [table, forecastOf(table)]));
  return (table) => forecasts.get(table) ?? noRefusal;
}

/** Returns the modules of images, by the digests of these. */
export async function readLinkedModules(connection: Connection, images: readonly string[]): Promise<Map<string, LinkedModule>> {
  const builds = await new BuildRecords(connection).findByImageDigests(
    images,
    (found) => [found.imageDigest, toLinkedModule(found)] as const,
  );
  return new Map(builds);
}

/** Returns why the links of a module on a device cannot be checked. */
export function unknownModuleMessage({ module, version }: ReportedModule): string {
  return `the service has no build of ${module}@${version}, which is on the device: its links are unknown`;
}
