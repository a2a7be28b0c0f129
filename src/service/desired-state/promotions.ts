// Promotions: a version becomes the desired one of the assignments that follow a channel, and reaches their devices by a rollout each.

import { satisfies } from 'semver';
import { newIdentifier } from '../../protocol/identifiers.ts';
import { audit } from '../audit-events/entry.ts';
import { findChannel } from '../channels/channels.ts';
import { type ChannelRecord, type ContentName, type PromotionRecord, PromotionRecords } from '../channels/repository.ts';
import type { Clock } from '../clock/service-clock.ts';
import type { Connection } from '../database/connection.ts';
import type { Store } from '../database/store.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { GroupRecords } from '../groups/repository.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { findHostsWithout } from '../loads/host-support.ts';
import { notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import { checkHasImages, checkUsable, findContent, type RequestedContent, type WantedContent } from '../rollouts/content.ts';
import { createRollout } from '../rollouts/creation.ts';
import { abort } from '../rollouts/decisions.ts';
import { inSampleOrder } from '../rollouts/membership.ts';
import { rolloutLimits } from '../rollouts/plan.ts';
import { RolloutRecords } from '../rollouts/repository.ts';
import { readView } from '../rollouts/status.ts';
import { compareWithTarget } from './comparison.ts';
import { decideForDevices } from './evaluation.ts';
import { AssignmentRecords, DesiredStateRecords, type ExaminedDevice } from './repository.ts';
import { RolloutSettings, toRolloutPlan } from './rollout-settings.ts';
import { type ActiveAssignment, readActiveAssignments } from './targets.ts';

/** Maximum numbers of modules and patch sets of a channel, and of promoted versions of each. */
const contentLimit = 100;
const versionLimit = 20;
/** Devices of a group that are read at once for a rollout. */
const batchSize = 1_000;

/** What a promotion does for one assignment. */
type PromotedAssignment = {
  readonly id: string;
  readonly name: string;
  /** Null: no rollout was started, for the reason. */
  readonly rollout: string | null;
  readonly reason: string | null;
};

export type Promoted = {
  readonly channel: ChannelRecord;
  readonly promotion: PromotionRecord;
  readonly assignments: readonly PromotedAssignment[];
};

type Uses = {
  readonly store: Store;
  readonly clock: Clock;
  /** Called after rollouts were started or ended, or the desired versions have changed. */
  readonly onChange: () => void;
};

export class Promotions {
  readonly #uses: Uses;

  constructor(uses: Uses) {
    this.#uses = uses;
  }

  /**
   * Promotes a version to a channel, and starts a rollout for each enforced assignment of which it is the newest version. If the version is promoted
   * already, starts the rollouts again that were aborted or rolled back.
   * @throws {Problem} `not-found`, `invalid-value`, `image-pruned`, `build-yanked`, `too-many-promotions`, `too-many-rollouts`.
   */
  async promote(reference: string, wanted: WantedContent, requester: Requester, toResponse: ToResponse<Promoted>): Promise<Promoted> {
    const promoted = await this.#uses.store.transaction(async (connection) => {
      const now = this.#uses.clock.now();
      const channel = await findChannel(connection, reference);
      const content = await findContent(connection, wanted);
      checkHasImages(content);
      checkUsable(content);
      const promotion = await recordPromotion(connection, channel, content, requester, now);
      const assignments = await startRollouts(connection, promotion, wanted, requester, now);
      const detail = {
        channel: channel.name,
        ...describePromotion(promotion),
        promotion: promotion.id,
        rollouts: assignments.flatMap(({ rollout }) => rollout ?? []),
      };
      await audit(connection, requester, now, [{ action: 'channel.promoted', object: channel.id, detail }]);
      const result = { channel, promotion, assignments };
      await storeResponse(connection, requester, toResponse, result);
      return result;
    });
    this.#uses.onChange();
    return promoted;
  }

  /** @throws {Problem} `not-found`. */
  async find(reference: string, id: string): Promise<PromotionRecord> {
    const { readConnection } = this.#uses.store;
    return findPromotion(readConnection, await findChannel(readConnection, reference), id);
  }

  /**
   * Withdraws a promotion and aborts its open rollouts: an earlier version is the desired one again. Devices that have the version keep it.
   * @throws {Problem} `not-found`.
   */
  async withdraw(reference: string, id: string, requester: Requester): Promise<void> {
    await this.#uses.store.transaction(async (connection) => {
      const now = this.#uses.clock.now();
      const channel = await findChannel(connection, reference);
      const promotion = await findPromotion(connection, channel, id);
      await new PromotionRecords(connection).remove(id);
      const aborted = await abortRollouts(connection, channel, promotion, requester, now);
      const detail = { channel: channel.name, ...describePromotion(promotion), promotion: id, aborted };
      await audit(connection, requester, now, [{ action: 'channel.withdrawn', object: channel.id, detail }]);
    });
    this.#uses.onChange();
  }
}

async function findPromotion(connection: Connection, channel: ChannelRecord, id: string): Promise<PromotionRecord> {
  const promotion = await new PromotionRecords(connection).find(channel.id, id);
  if (promotion === null) throw notFound('promotion', id);
  return promotion;
}

function describePromotion({ kind, name, version }: PromotionRecord): Record<string, string> {
  return { [kind === 'build' ? 'module' : 'patchSet']: name, version };
}

/** Returns the promotion of a version, which is created if it does not exist. @throws {Problem} `too-many-promotions`. */
async function recordPromotion(
  connection: Connection,
  { id: channelId, name: channel }: ChannelRecord,
  { module: name, version, patchSetId, builds }: RequestedContent,
  { actor }: Requester,
  now: Date,
): Promise<PromotionRecord> {
  const records = new PromotionRecords(connection);
  const content: ContentName = { kind: patchSetId === null ? 'build' : 'patch-set', name };
  const promoted = await records.ofContent(channelId, content);
  const existing = promoted.find((promotion) => promotion.version === version);
  if (existing !== undefined) return existing;
  if (promoted.length >= versionLimit)
    throw new Problem(
      'too-many-promotions',
      `limit reached: ${versionLimit} promoted versions of ${name} in the channel ${channel}. Withdraw one first`,
    );
  if (promoted.length === 0 && (await records.contentsOf(channelId)).length >= contentLimit)
    throw new Problem(
      'too-many-promotions',
      `limit reached: ${contentLimit} modules and patch sets in the channel ${channel}. Withdraw the versions of one first`,
    );
  const promotion = {
    id: newIdentifier('promotion'),
    channelId,
    ...content,
    version,
    contentId: patchSetId ?? builds[0]?.id ?? '',
    promotedAt: now,
    promotedBy: actor,
  };
  await records.create(promotion);
  return promotion;
}

/** Starts the rollouts of a promoted version. Returns the assignments that follow it. */
async function startRollouts(
  connection: Connection,
  promotion: PromotionRecord,
  wanted: WantedContent,
  requester: Requester,
  now: Date,
): Promise<PromotedAssignment[]> {
  const active = await readActiveAssignments(connection);
  const following = active.filter(
    ({ row }) =>
      row.channelId === promotion.channelId &&
      row.kind === promotion.kind &&
      row.content === promotion.name &&
      satisfies(promotion.version, row.range),
  );
  const promoted: PromotedAssignment[] = [];
  for (const assignment of following) {
    const { id, row } = assignment;
    const blocker = findBlocker(assignment, promotion.version);
    if (blocker !== null) {
      promoted.push({ id, name: row.name, rollout: null, reason: blocker });
      continue;
    }
    const devices = await findDevices(connection, active, withTarget(assignment, promotion.version));
    const rollout = devices.length === 0 ? null : await startRollout(connection, assignment, { wanted, devices }, requester, now);
    if (rollout === null) await new AssignmentRecords(connection).forgetRollouts(id, promotion.version);
    else await new AssignmentRecords(connection).setRollout(id, promotion.version, rollout);
    promoted.push({ id, name: row.name, rollout, reason: rollout === null ? 'no connected device of the group needs the version' : null });
  }
  return promoted;
}

/** Returns why no rollout of a version is started for an assignment; null if one is. */
function findBlocker({ row, target, held }: ActiveAssignment, version: string): string | null {
  if (row.mode !== 'enforce') return 'the assignment is not enforced';
  const own = held.find((other) => other.version === version);
  if (own?.rollout === 'open') return `the rollout ${own.rolloutId} of the version is open`;
  const [highest] = held;
  const newest = highest?.version ?? target?.version;
  return newest === version ? null : `the channel has the newer version ${newest}`;
}

/** Returns the assignment as if the version could be loaded outside rollouts. */
function withTarget(assignment: ActiveAssignment, version: string): ActiveAssignment {
  const target = assignment.held.find((held) => held.version === version) ?? assignment.target;
  return { ...assignment, target, held: [] };
}

/** Returns the connected devices for which an assignment decides and that have an older version, or none. */
async function findDevices(
  connection: Connection,
  active: readonly ActiveAssignment[],
  assignment: ActiveAssignment,
): Promise<ExaminedDevice[]> {
  const matching = await new DeviceRecords(connection).findMatching(assignment.selector, Number.MAX_SAFE_INTEGER);
  const needing: ExaminedDevice[] = [];
  for (let first = 0; first < matching.length && needing.length < rolloutLimits.devices; first += batchSize) {
    const ids = matching.slice(first, first + batchSize).map(({ id }) => id);
    const devices = (await new DesiredStateRecords(connection).devices(ids)).filter(({ isConnected }) => isConnected);
    for (const { device, installed, deciding } of await decideForDevices(connection, active, devices))
      if (deciding.some(({ id }) => id === assignment.id) && compareWithTarget(assignment, installed).kind === 'older')
        needing.push(device);
  }
  const without = assignment.row.kind === 'patch-set' ? await findHostsWithout(connection, needing, 'load-patch-set') : null;
  return needing.filter(({ hostId }) => without?.has(hostId) !== true).slice(0, rolloutLimits.devices);
}

/** Starts a rollout with the waves of an assignment, and returns its identifier. @throws {Problem} `too-many-rollouts`. */
async function startRollout(
  connection: Connection,
  { row }: ActiveAssignment,
  { wanted, devices }: { readonly wanted: WantedContent; readonly devices: readonly ExaminedDevice[] },
  requester: Requester,
  now: Date,
): Promise<string | null> {
  const group = await new GroupRecords(connection).find(row.groupId);
  if (group === null) return null;
  const { id, name, selector } = group;
  const [module, version] = 'patchSet' in wanted ? [wanted.patchSet.name, wanted.patchSet.version] : [wanted.module, wanted.version];
  const ordered = inSampleOrder(devices, { module, version }).map((device) => device.id);
  const plan = toRolloutPlan(row.name, RolloutSettings.parse(row.rollout), { id, name, selector }, ordered.length);
  const { record } = await createRollout(
    connection,
    { content: wanted, plan, group: null, devices: ordered, joining: null, unreachable: 'wait', scope: null },
    requester,
    now,
  );
  return record.id;
}

/** Aborts the open rollouts of a withdrawn version, and returns their identifiers. */
async function abortRollouts(
  connection: Connection,
  { id, name: channel }: ChannelRecord,
  { kind, name, version }: PromotionRecord,
  requester: Requester,
  now: Date,
): Promise<string[]> {
  const aborted: string[] = [];
  const records = new AssignmentRecords(connection);
  for (const { assignmentId, rolloutId } of await records.rolloutsOf(id, { kind, name }, version)) {
    await records.forgetRollouts(assignmentId, version);
    const record = await new RolloutRecords(connection).find(rolloutId);
    if (record === null || !isAbortable(record.state)) continue;
    await abort(`${name}@${version} was withdrawn from the channel ${channel}`)(
      connection,
      await readView(connection, record, now),
      requester,
      now,
    );
    aborted.push(rolloutId);
  }
  return aborted;
}

const isAbortable = (state: string) => ['pending', 'running', 'awaiting-approval', 'paused'].includes(state);
