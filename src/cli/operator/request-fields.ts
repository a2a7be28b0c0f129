// Names the options and arguments of a command that set the fields of a request.

import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import type { Schemas } from '../../client/client.ts';

/** Options whose name differs from the field; the first that the command has counts. */
const optionNames: Readonly<Record<string, readonly string[]>> = {
  labels: ['label'],
  devices: ['device', 'label', 'selector', 'group'],
  device: ['device', 'host'],
  name: ['name', 'device', 'rollout'],
  pauseMilliseconds: ['pause'],
  deadlineMilliseconds: ['deadline'],
  deadlineSeconds: ['deadline'],
  rollbackDeadlineSeconds: ['rollback-deadline'],
  downgradeReason: ['reason'],
  forceReason: ['reason'],
  waves: ['wave'],
  upToPercent: ['wave'],
  soakSeconds: ['soak'],
  failedLoadsPercent: ['failed-loads'],
  failedCallsPercent: ['failed-calls'],
  latencyIncreasePercent: ['latency-increase'],
  devicesInFlight: ['in-flight'],
  loadsPerMinute: ['rate'],
  devicesPerMinute: ['rate'],
  dynamicUntil: ['until'],
  maintenanceWindows: ['window'],
  host: ['to', 'host'],
  publisherKeys: ['publisher-key'],
  publisherKey: ['key'],
  signaturePolicy: ['policy'],
  dependencies: ['dependency'],
  builds: ['build'],
  features: ['enable'],
  source: ['file'],
  language: ['file'],
  keyId: ['signing-key'],
  signature: ['signing-key'],
  types: ['type'],
  eventTypes: ['event'],
  events: ['event'],
  enabled: ['disabled'],
};

const kebabCase = (field: string) => field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Returns the option or the argument of a command that sets a field, as its help writes it; null if there is none. */
function findOption(command: CommandUnknownOpts, field: string): string | null {
  for (const name of [...(optionNames[field] ?? []), kebabCase(field)]) {
    const option = command.options.find(({ long }) => long === `--${name}`);
    if (option?.long) return option.long;
    if (command.registeredArguments.some((argument) => argument.name() === name)) return `<${name}>`;
  }
  return null;
}

/**
 * Returns the option or argument that set an invalid value, like `--version`, `--wave 2` or `<device>`; the words of its field if the command has
 * no option for it.
 */
export function optionOf(command: CommandUnknownOpts, { pointer }: Pick<Schemas['InvalidValue'], 'pointer'>): string {
  const parts = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const [field = '', second] = parts;
  // Options of a wave and of the thresholds are fields of their own.
  const inner = field === 'thresholds' ? second : undefined;
  const option = findOption(command, inner ?? field);
  if (option === null) return (inner ?? field) === '' ? 'the request' : kebabCase(inner ?? field).replaceAll('-', ' ');
  if (inner !== undefined || second === undefined) return option;
  if (/^\d+$/.test(second)) return `${option} ${Number(second) + 1}`;
  return `${option} ${second}`;
}

/** Commands that do what a call does, for the messages of the service that name the call. */
const commandsOfCalls: readonly (readonly [call: RegExp, command: string])[] = [
  [/GET \/v1\/audit\/checkpoints\b/g, '"patchbay audit checkpoint"'],
  [/GET \/v1\/audit\b/g, '"patchbay audit list"'],
  [/GET \/v1\/devices\/\S+\/history\b/g, '"patchbay history DEVICE"'],
  [/GET \/v1\/devices\/\S+\/programs\b/g, '"patchbay program list DEVICE"'],
  [/GET \/v1\/devices\/\S+/g, '"patchbay device show DEVICE"'],
  [/GET \/v1\/devices\b/g, '"patchbay device list"'],
  [/GET \/v1\/hosts\b/g, '"patchbay device-host list"'],
  [/GET \/v1\/modules\/\S+\/builds\b/g, '"patchbay build list MODULE"'],
  [/POST \/v1\/modules\/\S+\/builds\b/g, '"patchbay build push"'],
  [/GET \/v1\/patch-sets\b/g, '"patchbay patch-set list"'],
  [/POST \/v1\/patch-sets\b/g, '"patchbay patch-set create"'],
  [/GET \/v1\/load-batches\b/g, '"patchbay load-batch list"'],
  [/GET \/v1\/loads\b/g, '"patchbay load list"'],
  [/POST \/v1\/loads\b/g, '"patchbay load"'],
  [/POST \/v1\/unloads\b/g, '"patchbay unload"'],
  [/GET \/v1\/rollouts\b/g, '"patchbay rollout list"'],
  [/POST \/v1\/rollouts\b/g, '"patchbay rollout create"'],
  [/POST \/v1\/rollbacks\b/g, '"patchbay rollback"'],
  [/GET \/v1\/groups\b/g, '"patchbay group list"'],
  [/GET \/v1\/channels\b/g, '"patchbay channel list"'],
  [/GET \/v1\/assignments\b/g, '"patchbay assignment list"'],
  [/GET \/v1\/keys\b/g, '"patchbay key list"'],
  [/POST \/v1\/keys\b/g, '"patchbay key create"'],
  [/GET \/v1\/publisher-keys\b/g, '"patchbay publisher-key list"'],
  [/GET \/v1\/signature-policies\b/g, '"patchbay signature-policy list"'],
  [/GET \/v1\/webhooks\b/g, '"patchbay webhook list"'],
  [/GET \/v1\/signing-keys\b/g, '"patchbay signing-key list"'],
];

function joinOption(command: CommandUnknownOpts, field: string, value: string): string | null {
  const option = findOption(command, field);
  return option === null ? null : `${option} ${value}`;
}

/** Returns a message of the service with options in place of field names, and commands in place of calls. */
export function describeInCommandTerms(detail: string, command: CommandUnknownOpts): string {
  const withCommands = commandsOfCalls.reduce((text, [call, name]) => text.replaceAll(call, name), detail.replaceAll('`', ''));
  return withCommands
    .replaceAll(/\{ "upToPercent": (\d+) \}/g, '$1%')
    .replaceAll(/\b(?:GET|POST|PUT|PATCH|DELETE) \/\S*[^\s.,;:)]|\/v1\/\S*[^\s.,;:)]/g, 'the API')
    .replaceAll(/"([a-z]+(?:[A-Z][a-z]+)*)": ?"?([\w.-]+)"?/g, (text, field, value) => joinOption(command, field, value) ?? text)
    .replaceAll(/(?<![\w/.-])("?)([a-z]+(?:[A-Z][a-z]+)+)\1(?![\w"/-])/g, (text, _quote, field) => findOption(command, field) ?? text);
}
