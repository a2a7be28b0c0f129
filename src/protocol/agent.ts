// The schemas of the agent protocol (/agent/v1) between a device host and the control service: registration, orders, reports.

import { z } from 'zod';
import { addressings } from '../proof/driver-statement.ts';
import { DeviceState, exampleDeviceState } from './device-state.ts';
import { exampleBootId, exampleIdentity, exampleRequest, exampleTimes, exampleVersions } from './examples.ts';
import {
  DeviceId,
  Digest,
  DisplayName,
  ExportName,
  exampleIdentifier,
  HostId,
  Labels,
  LoadId,
  ModuleName,
  OrderId,
  PatchSetName,
  ProgramId,
  Reason,
  RequestId,
  SignaturePolicyId,
  Timestamp,
  Version,
} from './identifiers.ts';
import { FunctionType } from './interface.ts';
import { exampleLoadReport, examplePolicy, LoadPolicy, LoadReport, memberLimit } from './load-report.ts';
import { exampleServiceKey, ServiceKeys } from './signed-statement.ts';
import { exampleTraceparent, Traceparent } from './traceparent.ts';

/** Limits of the agent protocol. */
export const agentLimits = {
  /** Maximum devices of one host. */
  devicesPerHost: 20_000,
  /** Maximum orders of a host that it has not reported on yet. */
  ordersInFlight: 1_000,
  /** Maximum reports in one request. */
  reportsPerRequest: 500,
  /** Maximum size of an image, in bytes. */
  imageBytes: 4 * 1024 * 1024,
} as const;

/** The orders that the service sends only to hosts that list them as a capability: older hosts do not know them. */
export const agentCapabilities = ['inject-load', 'cancel-load', 'load-patch-set', 'unload-module', 'detach-device'] as const;
export type AgentCapability = (typeof agentCapabilities)[number];

/** Limits of the capabilities in a registration. */
const capabilityLimits = { count: 100, characters: 64 } as const;

/** Identifies one run of a host process. */
export const BootId = z
  .string()
  .min(8)
  .max(64)
  .meta({ examples: [exampleBootId] });

/** Registers a host. The name identifies the host; a new boot ID means that it restarted and its devices are empty. */
export const HostRegistration = z
  .object({
    name: DisplayName,
    bootId: BootId.describe('A new value for each start of the host process.'),
    capacity: z.int().min(1).max(agentLimits.devicesPerHost).describe('Maximum number of devices on this host.'),
    capabilities: z
      .array(z.string().max(capabilityLimits.characters))
      .max(capabilityLimits.count)
      .default([])
      .describe(
        `Kinds of orders that the host executes besides those that every host executes: ${agentCapabilities.join(', ')}. The service ignores others, and sends these kinds only to a host that lists them.`,
      ),
    devices: z
      .array(z.object({ name: DisplayName, labels: Labels, ramPages: z.int().min(16).max(65_536) }).meta({ id: 'RegisteredDevice' }))
      .max(agentLimits.devicesPerHost)
      .describe('Devices of the host. Devices that it registered before are recognized by name.'),
  })
  .meta({
    id: 'HostRegistration',
    examples: [
      {
        name: 'rack-1',
        bootId: exampleBootId,
        capacity: 100,
        capabilities: [...agentCapabilities],
        devices: [{ name: 'router-7', labels: { zone: 'north' }, ramPages: 256 }],
      },
    ],
  });
export type HostRegistration = z.infer<typeof HostRegistration>;
/** A registration before validation, as a host creates it. */
export type HostRegistrationInput = z.input<typeof HostRegistration>;

export const RegisteredHost = z
  .object({
    host: HostId,
    name: DisplayName,
    devices: z.int().nonnegative(),
    token: z.string().describe('Bearer token for all further requests of the host. Each registration returns a new one.'),
    heartbeatSeconds: z
      .number()
      .positive()
      .describe('Interval in seconds at which the host sends a heartbeat if it sends no other request.'),
    signingKeys: ServiceKeys.shape.signingKeys.describe('The current and former signing keys of the service, oldest first.'),
  })
  .meta({
    id: 'RegisteredHost',
    examples: [
      {
        host: exampleIdentifier('host'),
        name: 'rack-1',
        devices: 1,
        token: 'agt_an-example-of-43-characters-that-is-no-token',
        heartbeatSeconds: 5,
        signingKeys: [exampleServiceKey],
      },
    ],
  });
export type RegisteredHost = z.infer<typeof RegisteredHost>;

/** A build to load onto a device. */
const ModuleImage = z.object({ module: ModuleName, version: Version, image: Digest }).meta({ id: 'ModuleImage' });

/** Limits of a signature policy. */
export const policyLimits = { publisherKeys: 20 } as const;

/** The publisher signatures that one signature policy requires before a device loads a build. */
const SignatureRequirement = z
  .object({
    policy: SignaturePolicyId,
    name: DisplayName.describe('Name of the policy.'),
    publicKeys: z
      .array(z.string().max(1_000))
      .max(policyLimits.publisherKeys)
      .describe('Ed25519 public keys of the publishers whose signatures count, in PEM.'),
    threshold: z.int().min(1).max(policyLimits.publisherKeys).describe('Number of these keys that must have signed the build.'),
  })
  .meta({ id: 'SignatureRequirement' });

/** Sent by a host that has nothing else to send. */
export const Heartbeat = z.object({ bootId: BootId }).meta({ id: 'Heartbeat', examples: [{ bootId: exampleBootId }] });

/** Limits of a declared program. */
export const programLimits = { threads: 10_000, arguments: 16, pauseMilliseconds: 60_000, deadlineMilliseconds: 3_600_000 } as const;

/** Where a program recovers from an injected error: in the access, or in the program itself. */
export const Recovery = z.enum(['module', 'percolate']).meta({ id: 'Recovery' });
export type Recovery = z.infer<typeof Recovery>;

/** How a program finds the module that it calls. */
export const Addressing = z.enum(addressings).meta({ id: 'Addressing' });
export type Addressing = z.infer<typeof Addressing>;

/** Maximum duration of one call of a program, in milliseconds. */
export const CallDeadline = z.int().min(1).max(programLimits.deadlineMilliseconds);

/** A program for a device to run. Its driver is a separate image, which calls the export through the module table. */
export const ProgramOrder = z
  .object({
    program: ProgramId,
    name: DisplayName,
    driver: Digest,
    module: ModuleName,
    export: ExportName,
    type: FunctionType,
    arguments: z.array(z.string().max(64)).max(programLimits.arguments).describe('One decimal number for each parameter of the export.'),
    threads: z.int().min(1).max(programLimits.threads),
    calls: z.int().min(1).nullable().describe('Number of calls of each thread. Null: until the program is stopped.'),
    pauseMilliseconds: z.int().min(0).max(programLimits.pauseMilliseconds),
    recovery: Recovery.default('module').describe(
      'What is retried after an injected error. `module`: the access, after it has read the module table again. `percolate`: the whole call of the program.',
    ),
    addressing: Addressing.default('via-table').describe(
      'How the driver finds the module. `via-table`: it reads the module table for each call. `hard-coded`: it reads it once and keeps the address. The choice is compiled into the driver.',
    ),
    deadlineMilliseconds: CallDeadline.nullable().default(null).describe('Time limit of one call, in milliseconds. Null: no limit.'),
  })
  .meta({ id: 'ProgramOrder' });
export type ProgramOrder = z.infer<typeof ProgramOrder>;

const order = {
  order: OrderId,
  device: DeviceId,
  sequence: z
    .int()
    .positive()
    .describe(
      'Increases with each order for the device, unless the database of the service was restored from a backup. A host recognizes executed orders by `order`, not by sequence.',
    ),
  request: RequestId.nullable()
    .default(null)
    .describe('ID of the request that caused the order, for the log of the host. Null if the service created it by itself.'),
  traceparent: Traceparent.optional().describe(
    'The trace of the request that caused the order (W3C Trace Context). A host that traces continues it. Omitted if the request was not traced.',
  ),
};

const exampleOrder = {
  order: exampleIdentifier('order'),
  device: exampleIdentifier('device'),
  sequence: 7,
  request: exampleRequest,
  traceparent: exampleTraceparent,
};
const { version, image } = exampleVersions.new;

/** The deadline of an order that runs a load. */
const loadDeadline = {
  deadline: Timestamp.nullable()
    .default(null)
    .describe(
      'When the load expires, by the clock of the service. For display only: to enforce the deadline, count down `remainingMilliseconds`.',
    ),
  remainingMilliseconds: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      'Time from its arrival at the host within which the load must start, in milliseconds of a monotonic clock of the host. A device that has not started the load by then reports it as `expired`. ' +
        'Null: no limit.',
    ),
};

const demands = z
  .array(SignatureRequirement)
  .default([])
  .describe(
    'The publisher signatures that the device requires of the build, according to the signature policies at the time of the request. All of them must be met.',
  );

/** A member of a patch set: a build to load, or a module to unload. */
const PatchSetMember = z
  .discriminatedUnion('action', [
    z.object({ action: z.literal('load'), ...ModuleImage.shape, demands }).meta({ id: 'MemberToLoad' }),
    z.object({ action: z.literal('unload'), module: ModuleName }).meta({ id: 'MemberToUnload' }),
  ])
  .meta({ id: 'OrderedMember' });

export const Order = z
  .discriminatedUnion('kind', [
    z
      .object({
        ...order,
        kind: z.literal('attach-device'),
        name: DisplayName,
        ramPages: z.int().positive(),
        modules: z.array(ModuleImage).describe('The modules to restore: those that were installed at the last contact with the device.'),
        programs: z
          .array(ProgramOrder)
          .describe('The programs to start: those that were running at the last contact with the device, or were to be started.'),
      })
      .meta({ id: 'AttachDeviceOrder' }),
    z
      .object({
        ...order,
        kind: z.literal('load'),
        load: LoadId,
        ...ModuleImage.shape,
        ...LoadPolicy.shape,
        ...loadDeadline,
        demands,
      })
      .meta({ id: 'LoadOrder' }),
    z
      .object({
        ...order,
        kind: z.literal('load-patch-set'),
        load: LoadId,
        patchSet: z.object({ name: PatchSetName, version: Version }).describe('The patch set, for the log of the host.'),
        members: z
          .array(PatchSetMember)
          .min(1)
          .max(memberLimit)
          .refine((members) => new Set(members.map(({ module }) => module)).size === members.length, 'names a module more than once')
          .describe('The members, each of another module. The device takes all of them in one step, or none.'),
        ...LoadPolicy.shape,
        ...loadDeadline,
      })
      .meta({
        id: 'LoadPatchSetOrder',
        description:
          'Loads a patch set: all entries of the module table change at one moment. Settled by `load-completed`. Only for hosts with the capability `load-patch-set`.',
      }),
    z
      .object({
        ...order,
        kind: z.literal('unload-module'),
        load: LoadId,
        module: ModuleName,
        strategy: LoadPolicy.shape.strategy,
        invalidation: LoadPolicy.shape.invalidation,
        drainMilliseconds: LoadPolicy.shape.drainMilliseconds,
        forceReason: Reason.nullable()
          .default(null)
          .describe('Reason for unloading the module although a module in memory imports it. Null: refuse the unload then.'),
        ...loadDeadline,
      })
      .meta({
        id: 'UnloadModuleOrder',
        description:
          'Removes a module from the module table: accesses inside it end as in a load, and its pages are invalidated. Settled by `load-completed`. Only for hosts with the capability `unload-module`.',
      }),
    z.object({ ...order, kind: z.literal('start-program'), ...ProgramOrder.shape }).meta({ id: 'StartProgramOrder' }),
    z.object({ ...order, kind: z.literal('stop-program'), program: ProgramId }).meta({ id: 'StopProgramOrder' }),
    z.object({ ...order, kind: z.literal('detach-device') }).meta({
      id: 'DetachDeviceOrder',
      description:
        'Drops the device after its earlier orders: stops its programs, and frees its memory. The device moves to another host or is decommissioned. Later orders for it are ignored, until another `attach-device`. Also settled if the host does not have the device. Only for hosts with the capability `detach-device`.',
    }),
    z.object({ ...order, kind: z.literal('inject-load'), load: LoadId }).meta({
      id: 'InjectLoadOrder',
      description:
        'Ends the wait of a draining load now: the device interrupts the accesses still inside the old version. Executed at once, not after the earlier orders for the device. Only for hosts with the capability `inject-load`.',
    }),
    z
      .object({ ...order, kind: z.literal('cancel-load'), load: LoadId, reason: Reason.describe('Reason for the report of the load.') })
      .meta({
        id: 'CancelLoadOrder',
        description:
          'Cancels a draining load: the device reverts the swap, and the load ends as `cancelled`. Executed at once, not after the earlier orders for the device. Only for hosts with the capability `cancel-load`.',
      }),
  ])
  .meta({
    id: 'Order',
    examples: [
      {
        ...exampleOrder,
        kind: 'load',
        load: exampleIdentifier('load'),
        module: 'tcp',
        version,
        image,
        ...examplePolicy,
        deadline: exampleTimes.deadline,
        remainingMilliseconds: 86_399_989,
        demands: [
          { policy: exampleIdentifier('signature policy'), name: 'released', publicKeys: [exampleIdentity.publicKey], threshold: 1 },
        ],
      },
      {
        ...exampleOrder,
        kind: 'load-patch-set',
        load: exampleIdentifier('load'),
        patchSet: { name: 'net-2026-11', version: '1.0.0' },
        members: [
          { action: 'load', module: 'tcp', version, image, demands: [] },
          { action: 'unload', module: 'udp' },
        ],
        ...examplePolicy,
        deadline: exampleTimes.deadline,
        remainingMilliseconds: 86_399_989,
      },
      {
        ...exampleOrder,
        kind: 'unload-module',
        load: exampleIdentifier('load'),
        module: 'tcp',
        strategy: examplePolicy.strategy,
        invalidation: examplePolicy.invalidation,
        drainMilliseconds: null,
        forceReason: null,
        deadline: exampleTimes.deadline,
        remainingMilliseconds: 86_399_989,
      },
    ],
  });
export type Order = z.infer<typeof Order>;
export type OrderOf<Kind extends Order['kind']> = Extract<Order, { kind: Kind }>;

/** The kinds of orders that run a load and are settled by its report. */
const loadOrderKinds = ['load', 'load-patch-set', 'unload-module'] as const satisfies readonly Order['kind'][];
/** An order that runs a load. */
export type LoadOrder = OrderOf<(typeof loadOrderKinds)[number]>;

/** Returns whether a kind of order runs a load. */
export function isLoadOrderKind(kind: string): kind is LoadOrder['kind'] {
  return loadOrderKinds.some((known) => known === kind);
}

/** Returns whether an order runs a load. */
export function isLoadOrder(ordered: Order): ordered is LoadOrder {
  return isLoadOrderKind(ordered.kind);
}

/** Maximum length of the reason why a report was rejected, in characters. */
export const rejectionLimit = 1_000;

const rejection = z
  .string()
  .max(rejectionLimit)
  .optional()
  .describe(
    'Why the service rejected the report that this one replaces. The state may then be incomplete, and the service draws no conclusion from missing entries.',
  );
const traceparent = Traceparent.optional().describe(
  'The span of the execution (W3C Trace Context), which the service continues. Omitted if the host does not trace.',
);
const report = { order: OrderId, device: DeviceId, state: DeviceState, rejection, traceparent };
const failure = Reason.nullable().describe('Why the order could not be executed. Null if it was.');

export const Report = z
  .discriminatedUnion('kind', [
    z.object({ ...report, kind: z.literal('device-attached'), failure }).meta({ id: 'DeviceAttachedReport' }),
    z.object({ ...report, kind: z.literal('load-completed'), load: LoadId, result: LoadReport }).meta({ id: 'LoadCompletedReport' }),
    z.object({ ...report, kind: z.literal('program-started'), program: ProgramId, failure }).meta({ id: 'ProgramStartedReport' }),
    z.object({ ...report, kind: z.literal('program-stopped'), program: ProgramId, failure }).meta({ id: 'ProgramStoppedReport' }),
    z.object({ ...report, kind: z.literal('device-detached'), failure }).meta({
      id: 'DeviceDetachedReport',
      description: 'Settles a `detach-device` order. The state is the last one before the device was dropped.',
    }),
    z.object({ ...report, kind: z.literal('load-injected'), load: LoadId, failure }).meta({
      id: 'LoadInjectedReport',
      description:
        'Settles an `inject-load` order. The failure says if the load no longer drained. The result of the load is in its own report.',
    }),
    z.object({ ...report, kind: z.literal('load-cancelled'), load: LoadId, failure }).meta({
      id: 'LoadCancelledReport',
      description:
        'Settles a `cancel-load` order. The failure says if the load no longer drained. The result of the load is in its own report.',
    }),
    z.object({ kind: z.literal('device-state'), device: DeviceId, state: DeviceState, rejection }).meta({ id: 'DeviceStateReport' }),
  ])
  .meta({ id: 'Report' });
export type Report = z.infer<typeof Report>;
/** A report before validation, as a host creates it. */
export type ReportInput = z.input<typeof Report>;
export type LoadReportInput = z.input<typeof LoadReport>;

export const Reports = z.object({ bootId: BootId, reports: z.array(Report).max(agentLimits.reportsPerRequest) }).meta({
  id: 'Reports',
  examples: [
    {
      bootId: exampleBootId,
      reports: [
        {
          kind: 'load-completed',
          order: exampleOrder.order,
          device: exampleOrder.device,
          state: exampleDeviceState,
          load: exampleIdentifier('load'),
          result: exampleLoadReport,
        },
      ],
    },
  ],
});
export type Reports = z.infer<typeof Reports>;
