// `patchbay assignment`: creates, lists, shows, edits and deletes assignments, and shows the desired state of a device.

import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { assignmentModes, failureReactions } from '../../client/enum-values.ts';
import { UsageError } from '../errors.ts';
import { exitCodes } from '../exit-codes.ts';
import { contentOf, formatDesiredState } from '../operator/desired-state.ts';
import { groupOption } from '../operator/load-options.ts';
import { formatWindow } from '../operator/maintenance-windows.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { maxSoakSeconds, readWave, readWindow } from '../operator/rollout-request.ts';
import { readInteger } from '../option-values.ts';
import { formatTable } from '../terminal/table.ts';
import { formatTime } from '../terminal/times.ts';
import { addExamples } from './examples.ts';

export function addAssignmentCommands(assignment: Command): void {
  addCreateCommand(assignment);
  addReadingCommands(assignment);
  addEditCommand(assignment);
  addDeleteCommand(assignment);
  addDeviceCommand(assignment);
}

const channelOption = () => new Option('--channel <channel>', 'the channel whose promoted versions count, by name or identifier');
const rangeOption = () => new Option('--range <range>', 'the range of versions (npm semver range), like "^2.1"');
const modeOption = () =>
  new Option('--mode <mode>', 'off: nothing happens; report: only report; enforce: bring devices to the version (default: report)').choices(
    assignmentModes,
  );
const priorityOption = () =>
  new Option('--priority <number>', 'of overlapping assignments, the one with the highest priority decides (default: 0)').argParser(
    (text) => readInteger('priority', text, -1_000, 1_000),
  );
const rateOption = () =>
  new Option('--rate <count>', 'maximum number of loads per minute for devices that join, return or drift (default: 60)').argParser(
    (text) => readInteger('rate', text, 1, 10_000),
  );
const waveOption = () =>
  new Option('--wave <spec...>', 'wave of the rollouts that promotions start, like 5, 10% or 5,soak=300,approval').argParser(
    (text: string, before: readonly Schemas['NewWave'][] = []): readonly Schemas['NewWave'][] => [...before, readWave(text)],
  );
const soakOption = () =>
  new Option('--soak <seconds>', 'soak time of waves that give none (default: 60)').argParser((text) =>
    readInteger('soak', text, 0, maxSoakSeconds),
  );
const reactionOption = () => new Option('--on-failure <reaction>', 'reaction to a failed wave (default: pause)').choices(failureReactions);
const windowOption = () =>
  new Option('--window <window>', 'rollouts request loads only in this weekly window, like "sat,sun 22:00-04:00 Europe/Berlin"').argParser(
    readWindow,
  );

type SettingOptions = {
  readonly mode?: Schemas['AssignmentMode'] | undefined;
  readonly priority?: number | undefined;
  readonly rate?: number | undefined;
  readonly wave?: readonly Schemas['NewWave'][] | undefined;
  readonly soak?: number | undefined;
  readonly onFailure?: Schemas['OnFailure'] | undefined;
  readonly window?: Schemas['ScheduleWindow'] | undefined;
};

/** Returns the optional settings of an assignment as members of a request. */
function toSettings({ mode, priority, rate, wave, soak, onFailure, window }: SettingOptions): Partial<Schemas['NewAssignment']> {
  return {
    ...(mode && { mode }),
    ...(priority !== undefined && { priority }),
    ...(rate !== undefined && { devicesPerMinute: rate }),
    ...(wave && { waves: [...wave] }),
    ...(soak !== undefined && { soakSeconds: soak }),
    ...(onFailure && { onFailure }),
    ...(window && { window }),
  };
}

function addCreateCommand(assignment: Command): void {
  const create = assignment
    .command('create <name>')
    .description('Give the devices of a group the highest version in a range that a channel has.')
    .addOption(groupOption('every device').makeOptionMandatory())
    .addOption(channelOption().makeOptionMandatory())
    .option('--module <name>', 'the module')
    .option('--patch-set <name>', 'the patch set, instead of --module')
    .addOption(rangeOption().makeOptionMandatory())
    .addOption(modeOption())
    .addOption(priorityOption())
    .addOption(rateOption())
    .addOption(waveOption())
    .addOption(soakOption())
    .addOption(reactionOption())
    .addOption(windowOption())
    .action((name, options, command) =>
      runOperatorCommand(command, async (context) => {
        const { group, channel, module, patchSet, range, ...settings } = options;
        if ((module === undefined) === (patchSet === undefined)) throw new UsageError('either --module or --patch-set is required');
        const body: Schemas['NewAssignment'] = {
          name,
          group,
          channel,
          ...(module === undefined ? {} : { module }),
          ...(patchSet === undefined ? {} : { patchSet }),
          range,
          ...toSettings(settings),
        };
        const created = unwrapResponse(await context.client.POST('/v1/assignments', { body }));
        printResult(context, created, () => [`created the assignment ${created.name} (${created.id}): ${describe(created)}`]);
        return exitCodes.success;
      }),
    );
  addExamples(
    create,
    'patchbay assignment create edge-net --group edge --channel stable --patch-set net --range "^2.1"',
    'patchbay assignment create edge-tcp --group edge --channel stable --module tcp --range "^1" --mode enforce --rate 30 --wave 1,soak=300 --wave 100%',
  );
}

function addReadingCommands(assignment: Command): void {
  const list = assignment
    .command('list')
    .description('List assignments, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        const assignments = await readPages(pages, async (query) =>
          unwrapResponse(await context.client.GET('/v1/assignments', { params: { query } })),
        );
        printList(context, assignments, {
          headings: ['NAME', 'GROUP', 'CONTENT', 'RANGE', 'CHANNEL', 'MODE', 'PRIORITY', 'ASSIGNMENT'],
          row: (item) => [
            item.name,
            item.groupName,
            contentOf(item),
            item.range,
            item.channelName,
            item.mode,
            String(item.priority),
            item.id,
          ],
          empty: 'no assignments found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay assignment list', 'patchbay assignment list --all --json');

  const show = assignment
    .command('show <assignment>')
    .description('Show an assignment, by its name or identifier, and the devices that do not have its version, with the reasons.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const { found } = await readAssignment(context.client, nameOrId);
        printResult(context, found, () => formatAssignment(found));
        return exitCodes.success;
      }),
    );
  addExamples(show, 'patchbay assignment show edge-net', 'patchbay assignment show edge-net --json');
}

function addEditCommand(assignment: Command): void {
  const edit = assignment
    .command('edit <assignment>')
    .description('Change an assignment. Fails if it changes at the same time.')
    .option('--name <name>', 'new name')
    .addOption(groupOption('every device'))
    .addOption(channelOption())
    .addOption(rangeOption())
    .addOption(modeOption())
    .addOption(priorityOption())
    .addOption(rateOption())
    .addOption(waveOption())
    .addOption(soakOption())
    .addOption(reactionOption())
    .addOption(windowOption())
    .action((nameOrId, options, command) =>
      runOperatorCommand(command, async (context) => {
        const { name, group, channel, range, ...settings } = options;
        const changed: Partial<Schemas['NewAssignment']> = {
          ...(name && { name }),
          ...(group && { group }),
          ...(channel && { channel }),
          ...(range && { range }),
          ...toSettings(settings),
        };
        if (Object.keys(changed).length === 0) throw new UsageError('give what to change, for example --mode or --range');
        const { found, etag } = await readAssignment(context.client, nameOrId);
        const body: Schemas['NewAssignment'] = { ...toRequest(found), ...changed };
        const edited = unwrapResponse(
          await context.client.PUT('/v1/assignments/{assignment}', {
            params: { path: { assignment: found.id }, header: { 'if-match': etag } },
            body,
          }),
        );
        printResult(context, edited, () => [`changed the assignment ${edited.name} (${edited.id}): ${describe(edited)}`]);
        return exitCodes.success;
      }),
    );
  addExamples(edit, 'patchbay assignment edit edge-net --mode enforce', 'patchbay assignment edit edge-net --range "^3" --rate 10');
}

function addDeleteCommand(assignment: Command): void {
  const remove = assignment
    .command('delete <assignment>')
    .description('Delete an assignment. Devices keep their versions, and open rollouts continue.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { assignment: nameOrId };
        assertSuccess(await context.client.DELETE('/v1/assignments/{assignment}', { params: { path } }));
        printResult(context, { assignment: nameOrId }, () => [`deleted the assignment ${nameOrId}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay assignment delete edge-net');
}

function addDeviceCommand(assignment: Command): void {
  const device = assignment
    .command('device <device>')
    .description('Show the versions that assignments give to a device, and the versions that it has.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const path = { device: nameOrId };
        const found = unwrapResponse(await context.client.GET('/v1/devices/{device}/desired-state', { params: { path } }));
        printResult(context, found, () => formatDesiredState(found));
        return exitCodes.success;
      }),
    );
  addExamples(device, 'patchbay assignment device router-7', 'patchbay assignment device router-7 --json');
}

async function readAssignment(client: Client, nameOrId: string): Promise<{ found: Schemas['AssignmentDetail']; etag: string }> {
  const read = await client.GET('/v1/assignments/{assignment}', { params: { path: { assignment: nameOrId } } });
  return { found: unwrapResponse(read), etag: read.response.headers.get('etag') ?? '*' };
}

/** Returns an assignment as a request. */
function toRequest(found: Schemas['Assignment']): Schemas['NewAssignment'] {
  const { name, group, channel, module, patchSet, range, mode, priority, devicesPerMinute, waves, onFailure, window } = found;
  return {
    name,
    group,
    channel,
    ...(module === null ? {} : { module }),
    ...(patchSet === null ? {} : { patchSet }),
    range,
    mode,
    priority,
    devicesPerMinute,
    waves: waves.map(({ devices, upToPercent, ...wave }) => ({
      ...wave,
      ...(devices === null ? { upToPercent: upToPercent ?? 100 } : { devices }),
    })),
    onFailure,
    ...(window === null ? {} : { window }),
  };
}

function describe(assignment: Schemas['Assignment']): string {
  const { groupName, channelName, range, mode } = assignment;
  return `${groupName} has ${contentOf(assignment)} ${range} from ${channelName}, ${mode}`;
}

function formatAssignment(found: Schemas['AssignmentDetail']): string[] {
  const { id, name, priority, devicesPerMinute, waves, onFailure, window, desiredVersion, held, deviceCounts, unmet, createdAt } = found;
  const { satisfied, pending, unsatisfied } = deviceCounts;
  const sizes = waves.map(({ devices, upToPercent }) => (devices === null ? `${upToPercent}%` : String(devices)));
  return [
    `${name}  ${id}`,
    `assignment   ${describe(found)}`,
    `priority     ${priority}`,
    `rate         ${devicesPerMinute} per minute`,
    `waves        ${sizes.join(', ')}; on failure ${onFailure}`,
    ...(window === null ? [] : [`window       ${formatWindow(window)}`]),
    `desired      ${desiredVersion ?? '-'}`,
    ...held.map(({ version, rollout, state }) => `held         ${version}, by the ${state} rollout ${rollout}`),
    `devices      ${satisfied} satisfied, ${pending} pending, ${unsatisfied} unsatisfied`,
    `created      ${formatTime(createdAt)}`,
    ...unmet.flatMap(formatUnmet),
  ];
}

function formatUnmet({ state, reason, devices, first }: Schemas['UnmetDevices']): string[] {
  return [
    '',
    `${state}, ${reason}: ${devices}${devices > first.length ? ` (the first ${first.length})` : ''}`,
    ...formatTable(
      ['DEVICE', 'ATTEMPTS', 'NEXT ATTEMPT', 'DETAIL'],
      first.map(({ deviceName, attempts, nextAttemptAt, detail }) => [deviceName, attempts, formatTime(nextAttemptAt), detail ?? '-']),
    ),
  ];
}
