// The end of a load (operation 280 of FIG. 2): its outcome and its report.

import { formatAddress } from '../memory/random-access-memory.ts';
import type { LoadReport, Outcome, ReportedImage, StepRecorder, VersionChange } from './load-report.ts';
import type { LoadKind } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';

/** The versions of a module before and after a load. */
export type MemberVersions = { readonly module: string; readonly previous: LoadedImage | null; readonly current: LoadedImage | null };

export type Ending = {
  readonly outcome: Outcome;
  readonly reason?: string;
  readonly members: readonly MemberVersions[];
  readonly interrupted?: number;
  readonly retried?: number;
  readonly failed?: number;
};

/** Records the end of a load and returns its report. */
export function complete(recorder: StepRecorder, kind: LoadKind, ending: Ending): LoadReport {
  const { outcome, reason = null, interrupted = 0, retried = 0, failed = 0, members } = ending;
  const microseconds = recorder.elapsed;
  recorder.record('completed', { outcome, microseconds });
  return {
    outcome,
    reason,
    ...describeMembers(kind, members),
    interrupted,
    retried,
    failed,
    microseconds,
    steps: recorder.steps,
  };
}

/** Reports a failed load: the old versions, if any, are in the table. */
export function fail(
  recorder: StepRecorder,
  kind: LoadKind,
  { during, reason, members }: { readonly during: string; readonly reason: string; readonly members: readonly Unchanged[] },
): LoadReport {
  recorder.record('failed', { during, reason });
  return complete(recorder, kind, { outcome: 'failed', reason, members: members.map(unchanged) });
}

type Unchanged = Pick<MemberVersions, 'module' | 'previous'>;

/** Returns the versions of a member whose load changed nothing. */
export function unchanged({ module, previous }: Unchanged): MemberVersions {
  return { module, previous, current: previous };
}

function describeMembers(kind: LoadKind, members: readonly MemberVersions[]): VersionChange & Pick<LoadReport, 'members'> {
  if (kind === 'patch-set')
    return {
      previous: null,
      current: null,
      members: members.map(({ module, ...versions }) => ({ module, ...describeVersions(versions) })),
    };
  const [only] = members;
  return only === undefined ? { previous: null, current: null } : describeVersions(only);
}

function describeVersions({ previous, current }: Omit<MemberVersions, 'module'>): VersionChange {
  return { previous: previous && describeImage(previous), current: current && describeImage(current) };
}

function describeImage({ image, range, tainted }: LoadedImage): ReportedImage {
  return { version: image.stamp.version, image: image.digest, address: formatAddress(range.firstPage), pages: range.pages, tainted };
}
