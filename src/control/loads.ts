// Loads: one build is to be put on devices; each device carries out one load and reports its outcome.

import type { LoadFilter, LoadRecord, LoadSummary } from '../store/records/loads.ts';
import type { PageByTime } from '../store/records/page.ts';
import type { Records } from '../store/records/records.ts';
import { type AnswerOf, keepAnswer } from './answers.ts';
import { type Context, type PageOf, type Requester, readPage, service } from './context.ts';
import { type Selector, selectDevices } from './device-selection.ts';
import { type LoadTerms, makeLoads, type NewLoads } from './load-batches.ts';
import { endLoads } from './load-endings.ts';
import { invalidValue, notFound, Problem } from './problem.ts';

/** Loads that are ended in one transaction. */
const endedAtOnce = 500;

export type NewLoadsRequest = LoadTerms & { readonly module: string; readonly version: string; readonly selector: Selector };

export class Loads {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Accepts one load for each selected device, all of them or none. @throws {Problem} `not-found`, `invalid-value`, `busy`. */
  async request(request: NewLoadsRequest, requester: Requester, answerOf: AnswerOf<NewLoads>): Promise<NewLoads> {
    const { module, version, selector, ...terms } = request;
    return this.#context.store.transaction(async (records) => {
      const build = await records.builds.findLoadable(module, version);
      if (build === null) throw await unknownBuild(records, module, version);
      const devices = await selectDevices(records, selector);
      const targets = devices.map((device) => ({ device, build }));
      const facts = { version, ...('labels' in selector ? selector : {}) };
      const accepted = await makeLoads(records, targets, { module, terms, isRollback: false, rolloutId: null, facts }, requester);
      await keepAnswer(records, requester, answerOf, accepted);
      return accepted;
    });
  }

  /** Ends a load that waits and was not dispatched; one that is cancelled already stays so. @throws {Problem} `not-found`, `not-waiting`. */
  async cancel(id: string, requester: Requester): Promise<LoadRecord> {
    await this.#context.store.transaction(async (records) => {
      const load = await records.loads.find(id);
      if (load === null) throw notFound('load', id);
      if (load.outcome === 'cancelled') return;
      if (load.state !== 'queued') {
        const how = load.state === 'dispatched' ? 'its host has been sent it' : `it has ended as ${load.outcome}`;
        throw new Problem('not-waiting', `the load ${id} cannot be cancelled any more: ${how}`);
      }
      const end = { outcome: 'cancelled', reason: `cancelled by ${requester.actor}`, completedAt: new Date() };
      await endLoads(records, [load], end, requester);
    });
    return this.find(id);
  }

  /** Ends the loads whose deadline is over. */
  async expire(): Promise<void> {
    const now = new Date();
    const isOver = await this.#context.store.records.loads.overdue(now, 1);
    if (isOver.length === 0) return;
    let ended: number;
    do {
      ended = await this.#context.store.transaction(async (records) => {
        const overdue = await records.loads.overdue(now, endedAtOnce);
        const end = { outcome: 'expired', reason: 'its deadline was over before its device had carried it out', completedAt: now };
        await endLoads(records, overdue, end, service);
        return overdue.length;
      });
    } while (ended === endedAtOnce);
  }

  /** @throws {Problem} `not-found`. */
  async find(id: string): Promise<LoadRecord> {
    const load = await this.#context.store.records.loads.find(id);
    if (load === null) throw notFound('load', id);
    return load;
  }

  list(filter: LoadFilter, page: PageByTime): Promise<PageOf<LoadSummary, PageByTime>> {
    return readPage(
      page,
      (wanted) => this.#context.store.records.loads.list(filter, wanted),
      ({ requestedAt, id }) => ({ time: requestedAt, key: id }),
    );
  }
}

/** There is no such build; the message says which there are. */
export async function unknownBuild(records: Records, module: string, version: string): Promise<Problem> {
  const versions = await records.builds.versions(module);
  if (versions.length === 0)
    return invalidValue('/module', `there is no module ${module}: push a build first (POST /v1/modules/${module}/builds)`);
  return invalidValue('/version', `there is no build ${module}@${version}: there is ${versions.slice(-20).join(', ')}`);
}
