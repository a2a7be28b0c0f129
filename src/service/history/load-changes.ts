// The changes of a load to the modules of its device: one for a build or an unload, one for each member of a patch set.

import type { LoadOrder } from '../../protocol/agent.ts';
import type { LoadedImage, LoadReport } from '../../protocol/load-report.ts';
import { type OrderedModule, orderedModules } from '../orders/orders.ts';

/** A device's report of a load, with the order and the request of the load. */
export type ReportedLoad = {
  readonly order: LoadOrder;
  readonly report: LoadReport;
  /** Time and requester of the load; undefined if the load does not exist. */
  readonly request: { readonly requestedAt: Date; readonly requestedBy: string | null } | undefined;
};

/** A load and one of the modules that it was to change, with the versions before and after the load as reported. */
export type ReportedChange = ReportedLoad & OrderedModule & { readonly previous: LoadedImage | null; readonly current: LoadedImage | null };

type Versions = Pick<ReportedChange, 'previous' | 'current'>;
const unknownVersions: Versions = { previous: null, current: null };

/** Returns a change for each module of a load. */
export function changesOf(load: ReportedLoad): ReportedChange[] {
  const { order, report } = load;
  const members = new Map<string, Versions>((report.members ?? []).map((member) => [member.module, member]));
  return orderedModules(order).map((ordered) => {
    const { previous, current } = order.kind === 'load-patch-set' ? (members.get(ordered.module) ?? unknownVersions) : report;
    return { ...load, ...ordered, previous, current };
  });
}

/** Returns whether the load loaded or unloaded the module of the change. */
export function isApplied({ order, report, build, previous, current }: ReportedChange): boolean {
  const hasSucceeded = order.kind === 'unload-module' ? isUnloaded(report) : isLoaded(report);
  // A patch set keeps a member that is in memory already.
  const isKept = order.kind === 'load-patch-set' && current !== null && previous?.address === current.address;
  return hasSucceeded && !isKept && (build === null) === (current === null);
}

/** Returns whether the load installed its version. */
export function isLoaded({ outcome }: LoadReport): boolean {
  return outcome === 'installed' || outcome === 'replaced' || outcome === 'replaced-interrupting';
}

function isUnloaded({ outcome }: LoadReport): boolean {
  return outcome === 'unloaded' || outcome === 'unloaded-interrupting';
}

type Step<Name extends LoadReport['steps'][number]['step']> = Extract<LoadReport['steps'][number], { step: Name }>;

/** Returns the step of the change's module, or the one of all modules of the load. */
export function findStep<Name extends LoadReport['steps'][number]['step']>(
  { report, module }: ReportedChange,
  name: Name,
): Step<Name> | undefined {
  return report.steps.find((step): step is Step<Name> => step.step === name && (step.module === undefined || step.module === module));
}
