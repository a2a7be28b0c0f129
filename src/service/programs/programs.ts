// Programs: an operator declares them, the service checks them against the interface of the called module, and a device runs them.

import type { Compiler } from '../../compiler/compiler.ts';
import type { Addressing, Recovery } from '../../protocol/agent.ts';
import { endedProgramStates, ProgramStatistics } from '../../protocol/device-state.ts';
import { newIdentifier } from '../../protocol/identifiers.ts';
import type { FunctionType, ValueType } from '../../protocol/interface.ts';
import { Interface } from '../../protocol/interface.ts';
import { audit } from '../audit-events/entry.ts';
import type { Clock } from '../clock/service-clock.ts';
import { DamagedItem, readOrMark } from '../database/damaged-rows.ts';
import type { PageByTime } from '../database/page.ts';
import { type PageResult, readMarkedPage } from '../database/page-reader.ts';
import { undecodablePosition } from '../database/readable-rows.ts';
import type { Store } from '../database/store.ts';
import { checkNotDecommissioned, type Devices, type DeviceView } from '../devices/devices.ts';
import { storeResponse, type ToResponse } from '../idempotency/idempotency-store.ts';
import { requireCompiled } from '../modules/compilation.ts';
import { BuildQueries } from '../modules/queries.ts';
import { newOrder } from '../orders/orders.ts';
import { OrderRecords } from '../orders/repository.ts';
import { decommissioned, type InvalidValue, invalidValue, notFound, Problem } from '../problem.ts';
import type { Requester } from '../requester.ts';
import type { SigningKeys } from '../signing-keys/signing-keys.ts';
import { storeDriver } from './drivers.ts';
import { toProgramOrder } from './program-order.ts';
import { type ProgramFilter, ProgramQueries } from './queries.ts';
import type { ProgramRecord } from './repository.ts';
import { ProgramRecords } from './repository.ts';

export type NewProgramRequest = {
  /** Null: the name is made from module and export. */
  readonly name: string | null;
  readonly module: string;
  readonly export: string;
  /** Numbers, or decimal strings for values beyond the precision of a number. */
  readonly arguments: readonly (number | string)[];
  readonly threads: number;
  /** Calls per thread; null: no limit. */
  readonly calls: number | null;
  readonly pauseMilliseconds: number;
  readonly recovery: Recovery;
  readonly addressing: Addressing;
  /** Time limit of one call; null: none. */
  readonly deadlineMilliseconds: number | null;
};

/** `starting` and `stopping` wait for the device. */
export const programStates = ['starting', 'running', 'stopping', ...endedProgramStates] as const;
type ProgramState = (typeof programStates)[number];
export type ProgramView = { readonly program: ProgramRecord; readonly state: ProgramState; readonly statistics: ProgramStatistics | null };

type Uses = { readonly store: Store; readonly compiler: Compiler; readonly signingKeys: SigningKeys; readonly clock: Clock };

export class Programs {
  readonly #uses: Uses;
  readonly #devices: Devices;

  constructor(uses: Uses, devices: Devices) {
    this.#uses = uses;
    this.#devices = devices;
  }

  /** Compiles a driver and orders the device to start the program. @throws {Problem} `not-found`, `decommissioned`, `not-attached`, `not-loaded`, `invalid-value`. */
  async start(
    deviceId: string,
    request: NewProgramRequest,
    requester: Requester,
    toResponse: ToResponse<ProgramView>,
  ): Promise<ProgramView> {
    const view = await this.#devices.get(deviceId);
    const type = await this.#exportType(view, request);
    const values = checkArguments(request.arguments, type);
    const { addressing } = request;
    const target = { module: request.module, export: request.export, type, addressing };
    const result = await this.#uses.compiler.compileDriver(target);
    const driver = requireCompiled(result, `the driver of ${request.module}.${request.export}`).compiled;
    const createdAt = this.#uses.clock.now();
    const started = await this.#uses.store.transaction(async (connection) => {
      await checkNotDecommissioned(connection, view.device);
      await storeDriver(connection, this.#uses, target, driver);
      const created = await new ProgramRecords(connection).create({
        id: newIdentifier('program'),
        deviceId,
        name:
          request.name ??
          `${request.module}.${request.export}`
            .toLowerCase()
            .replaceAll(/[^a-z0-9._-]/g, '-')
            .slice(0, 63),
        module: request.module,
        export: request.export,
        type,
        arguments: values,
        threads: request.threads,
        calls: request.calls === null ? null : BigInt(request.calls),
        pauseMilliseconds: request.pauseMilliseconds,
        recovery: request.recovery,
        addressing,
        deadlineMilliseconds: request.deadlineMilliseconds,
        driverDigest: driver.digest,
        createdAt,
      });
      await new OrderRecords(connection).create([
        newOrder(view.device, { kind: 'start-program', ...toProgramOrder(created) }, requester, createdAt),
      ]);
      const detail = {
        device: deviceId,
        name: created.name,
        module: created.module,
        export: created.export,
        threads: created.threads,
        calls: request.calls,
        recovery: created.recovery,
        addressing,
        deadlineMilliseconds: created.deadlineMilliseconds,
        driver: created.driverDigest,
      };
      await audit(connection, requester, createdAt, [{ action: 'program.requested', object: created.id, detail }]);
      const program = toView(created, view);
      await storeResponse(connection, requester, toResponse, program);
      return program;
    });
    return started;
  }

  /** Orders the device to end the threads of a program. Does nothing if this was requested before. @throws {Problem} `not-found`. */
  async stop(deviceId: string, id: string, requester: Requester): Promise<ProgramView> {
    const view = await this.#devices.get(deviceId);
    await this.#uses.store.transaction(async (connection) => {
      const program = await new ProgramRecords(connection).find(deviceId, id);
      if (program === null) throw notFound('program', `${id} on the device ${deviceId}`);
      if (program.stopRequested || program.statistics !== null) return;
      const at = this.#uses.clock.now();
      await new ProgramRecords(connection).requestStop(id);
      await new OrderRecords(connection).create([newOrder(view.device, { kind: 'stop-program', program: id }, requester, at)]);
      await audit(connection, requester, at, [{ action: 'program.stop-requested', object: id, detail: { device: deviceId } }]);
    });
    return this.get(deviceId, id);
  }

  /** @throws {Problem} `not-found`. */
  async get(deviceId: string, id: string): Promise<ProgramView> {
    const view = await this.#devices.get(deviceId);
    const program = await new ProgramRecords(this.#uses.store.readConnection).find(deviceId, id);
    if (program === null) throw notFound('program', `${id} on the device ${deviceId}`);
    return toView(program, view);
  }

  /** @throws {Problem} `not-found`. */
  async list(filter: ProgramFilter, page: PageByTime): Promise<PageResult<ProgramView | DamagedItem, PageByTime>> {
    const view = await this.#devices.get(filter.deviceId);
    const queries = new ProgramQueries(this.#uses.store.reader);
    const found = await readMarkedPage(page, {
      read: (chunkPage) => queries.list(filter, chunkPage),
      positionOfUndecodable: undecodablePosition.byTime,
      positionOf: ({ createdAt, id }) => ({ time: createdAt, key: id }),
      bytesOf: ({ statistics }) => JSON.stringify(statistics).length,
    });
    return {
      ...found,
      items: found.items.map((program) =>
        program instanceof DamagedItem ? program : readOrMark(program, program.id, () => toView(program, view)),
      ),
    };
  }

  /** Returns the type of the called export, in the version that is in the device's memory. */
  async #exportType(view: DeviceView, request: NewProgramRequest): Promise<FunctionType> {
    const { device, state } = view;
    if (device.decommissionedAt !== null) throw decommissioned('device', device.name);
    if (state === null)
      throw new Problem(
        'not-attached',
        `the device ${device.name} is not attached (status: ${device.status}): try again when its status is "connected"`,
      );
    const entry = state.moduleTable.find(({ module }) => module === request.module);
    const hint = 'load a build first';
    if (entry === undefined)
      throw new Problem('not-loaded', `the module ${request.module} is not in the memory of ${device.name}: ${hint}`);
    const build = await new BuildQueries(this.#uses.store.reader).findByImage(request.module, entry.image);
    if (build === null)
      throw new Problem(
        'not-loaded',
        `${request.module}@${entry.version} in the memory of ${device.name} is not a build of this service: ${hint}`,
      );
    const { exports } = Interface.parse(build.interface);
    const found = exports.find(({ name }) => name === request.export);
    if (found === undefined) {
      throw invalidValue(
        '/export',
        `${request.module}@${entry.version} has no export "${request.export}": its exports are ${exports.map(({ name }) => `"${name}"`).join(', ')}`,
      );
    }
    return { parameters: found.parameters, results: found.results };
  }
}

function toView(program: ProgramRecord, { state }: DeviceView): ProgramView {
  const reported = state?.programs.find((statistics) => statistics.program === program.id) ?? null;
  const last = program.statistics === null ? null : ProgramStatistics.parse(program.statistics);
  const statistics = last ?? reported;
  return { program, state: stateOf(program, statistics), statistics };
}

function stateOf(program: ProgramRecord, statistics: ProgramStatistics | null): ProgramState {
  if (program.failure !== null) return 'failed';
  if (statistics !== null && statistics.state !== 'running') return statistics.state;
  if (program.stopRequested) return 'stopping';
  return program.started ? 'running' : 'starting';
}

const integerRanges = {
  i32: { min: -(2n ** 31n), max: 2n ** 32n - 1n },
  i64: { min: -(2n ** 63n), max: 2n ** 64n - 1n },
} as const;

function checkArguments(values: readonly (number | string)[], type: FunctionType): string[] {
  const { parameters } = type;
  if (values.length !== parameters.length) {
    throw invalidValue(
      '/arguments',
      `wrong number of arguments: expected ${parameters.length} (types: ${parameters.join(', ') || 'none'}), received ${values.length}`,
    );
  }
  const invalid: InvalidValue[] = [];
  const strings = values.map((value, index) => {
    const error = argumentError(String(value), parameters[index] ?? 'i32');
    if (error !== null) invalid.push({ pointer: `/arguments/${index}`, detail: error });
    return String(value);
  });
  const [first] = invalid;
  if (first !== undefined) throw new Problem('invalid-value', `${first.pointer}: ${first.detail}`, { invalidValues: invalid });
  return strings;
}

/** Returns why a value is invalid for a parameter type, or null. */
function argumentError(text: string, type: ValueType): string | null {
  switch (type) {
    case 'i32':
    case 'i64': {
      const { min, max } = integerRanges[type];
      if (!/^-?\d{1,20}$/.test(text)) return `expected an integer (${type}), received "${text}"`;
      const value = BigInt(text);
      return value >= min && value <= max ? null : `expected a value from ${min} to ${max} (${type}), received ${text}`;
    }
    case 'f32':
    case 'f64':
      return text.trim() !== '' && !Number.isNaN(Number(text)) ? null : `expected a number (${type}), received "${text}"`;
    default:
      return `a program cannot pass arguments of type ${type}: call another export`;
  }
}
