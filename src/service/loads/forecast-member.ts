// Predicts how devices decide about one build of a load: by its image and its signatures, and by the version that they have.

import { compareVersions, type VersionDecision } from '../../machine/isolation/version-policy.ts';
import { BuildProof, unreadableStatementMessage } from '../../proof/build-proof.ts';
import { Interface } from '../../protocol/interface.ts';
import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { missingProvenance, readBuildEnvelope } from '../modules/build-provenance.ts';
import { describePrunedImage } from '../modules/pruned-image.ts';
import { type BuildRecord, BuildRecords } from '../modules/repository.ts';
import { describeStateLoss } from '../modules/state-loss.ts';
import type { DemandsOn } from '../signature-policies/signature-demands.ts';
import { SigningKeyRecords } from '../signing-keys/repository.ts';

/** The comparison of a build with an installed version. */
type Comparison = {
  /** Why devices with the version would refuse the build; null: they would not. */
  readonly refusal: VersionDecision['refusal'];
  /** Why the state of the version is lost; null if it is not. */
  readonly stateLoss: string | null;
};

export class MemberForecast {
  readonly build: BuildRecord;
  readonly #versions: ReadonlyMap<string, string>;
  readonly #comparisons: ReadonlyMap<string, Comparison>;
  readonly #proof: BuildProof | { readonly refusal: string };

  private constructor(
    build: BuildRecord,
    versions: ReadonlyMap<string, string>,
    comparisons: ReadonlyMap<string, Comparison>,
    proof: BuildProof | { readonly refusal: string },
  ) {
    this.build = build;
    this.#versions = versions;
    this.#comparisons = comparisons;
    this.#proof = proof;
  }

  /** Reads what the forecast of a build on these devices needs. */
  static async read(connection: Connection, build: BuildRecord, deviceIds: readonly string[], policy: LoadPolicy): Promise<MemberForecast> {
    const versions = await new DeviceRecords(connection).versionsOf(deviceIds, build.module);
    const comparisons = await compareInstalled(connection, build, new Set(versions.values()), policy);
    return new MemberForecast(build, versions, comparisons, await proofOf(connection, build));
  }

  /** Returns the recorded version; null if there is none, or if the reported module table lacks the module. */
  currentVersion(device: string, table: readonly { readonly module: string }[] | undefined): string | null {
    const isMissing = table !== undefined && !table.some(({ module }) => module === this.build.module);
    return isMissing ? null : (this.#versions.get(device) ?? null);
  }

  /** Returns the comparison with an installed version; undefined if the service has no build of it. */
  comparisonWith(current: string | null): Comparison | undefined {
    return current === null ? undefined : this.#comparisons.get(current);
  }

  /** Returns why a device would refuse the image, or null. */
  imageRefusal(device: string, demandsOn: DemandsOn): string | null {
    const refusal =
      this.#proof instanceof BuildProof ? this.#proof.unmetRequirement(demandsOn(this.build.module, device)) : this.#proof.refusal;
    return refusal === null ? null : refusal.slice(0, 1_000).toWellFormed();
  }
}

/** A build of a load, and the version that a device has. */
export type MemberOnDevice = { readonly member: MemberForecast; readonly current: string | null };

/** Compares the build with installed versions. By version. */
async function compareInstalled(
  connection: Connection,
  build: BuildRecord,
  versions: ReadonlySet<string>,
  policy: LoadPolicy,
): Promise<Map<string, Comparison>> {
  const next = { module: build.module, version: build.version, interface: Interface.parse(build.interface) };
  const inMemory = await new BuildRecords(connection).findMany(build.module, [...versions]);
  return new Map(
    inMemory.map((installed) => {
      const { version } = installed;
      const { refusal } = compareVersions(next, { version, interface: Interface.parse(installed.interface) }, policy);
      return [version, { refusal, stateLoss: describeStateLoss(installed, build) }];
    }),
  );
}

/** Returns the proof of the build, or why every host would refuse it. */
async function proofOf(connection: Connection, build: BuildRecord): Promise<BuildProof | { readonly refusal: string }> {
  const refusal = describePrunedImage(build);
  if (refusal !== null) return { refusal };
  const envelope = readBuildEnvelope(build);
  if (envelope === null) return { refusal: missingProvenance(build).message };
  const proof = BuildProof.parse(envelope);
  if (proof === null) return { refusal: unreadableStatementMessage(build.imageDigest) };
  const keys = (await new SigningKeyRecords(connection).all()).map(({ keyId, publicKey }) => ({ keyId, pem: publicKey }));
  if (proof.signersAmong(keys).length === 0) return { refusal: proof.untrustedMessage() };
  const misstatement = proof.mismatchMessage(build);
  return misstatement === null ? proof : { refusal: misstatement };
}
