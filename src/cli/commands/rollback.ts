// `patchbay rollback`: rolls devices back to a version that they had before, or to the versions before a patch set.

import { type Command, Option } from '@commander-js/extra-typings';
import { ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { CommandError, UsageError } from '../errors.ts';
import { type ExitCode, exitCodes } from '../exit-codes.ts';
import {
  addLoadOptions,
  deadlineOption,
  groupOption,
  resolveSelection,
  selectorOption,
  supersedeOption,
  toLoadRequest,
} from '../operator/load-options.ts';
import { requestLoads } from '../operator/load-requests.ts';
import { formatHeld } from '../operator/maintenance-windows.ts';
import { type CommandContext, printNote, printResult, runOperatorCommand } from '../operator/operator.ts';
import { collectValues } from '../option-values.ts';
import { formatDeviceCount } from '../terminal/device-count.ts';
import { formatTable } from '../terminal/table.ts';
import { addExamples } from './examples.ts';
import { loadExitCodesText } from './load.ts';

/** Maximum number of devices that a preview lists. */
const rowLimit = 100;

export function addRollbackCommand(rollback: Command): void {
  const complete = addLoadOptions(
    rollback
      .option('--device <device>', 'device, by name or identifier; may be repeated', collectValues)
      .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
      .addOption(selectorOption())
      .addOption(groupOption())
      .option('--module <name>', 'the module')
      .option('--patch-set <name>', 'the patch set whose latest load to revert, instead of --module')
      .option('--to <version>', 'version to roll back to (default: the previous version of each device)')
      .requiredOption('--reason <text>', 'reason, recorded with each load')
      .addOption(
        new Option(
          '--on-missing-version <action>',
          'what to do if some devices have no version to roll back to: reject the request, or skip these devices (default: reject)',
        ).choices(['reject', 'skip']),
      ),
    'warn',
  )
    .addOption(deadlineOption())
    .addOption(supersedeOption())
    .option('--dry-run', 'only show what the rollback would do on each device')
    .option('--no-wait', 'do not wait for the outcomes')
    .addHelpText('after', loadExitCodesText)
    .action(({ device, label, selector, group, module, patchSet, to, reason, onMissingVersion, dryRun, wait, ...terms }, command) =>
      runOperatorCommand(command, async (context) => {
        const { client } = context;
        const { name, ...subject } = toSubject(module, patchSet);
        const body = {
          ...subject,
          reason,
          ...(await resolveSelection(client, { device, label, selector, group })),
          ...(to && { to }),
          ...(onMissingVersion && { onMissingVersion }),
          ...toLoadRequest(terms),
        };
        if (dryRun) return previewRollback(context, body);
        try {
          return await requestLoads(context, name, () => requestRollback(context, body), { isWaiting: wait });
        } catch (error) {
          if (!(error instanceof ResponseError) || error.problem?.type !== 'urn:patchbay:problem:already-installed') throw error;
          const { detail } = error.problem;
          printResult(context, { batch: null, loads: [], detail }, () => [detail]);
          return exitCodes.success;
        }
      }),
    );
  addExamples(
    complete,
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets"',
    'patchbay rollback --device rack-1-3 --module tcp --to 1.0.0 --reason "comparing both versions"',
    'patchbay rollback --label zone=north --module tcp --reason "1.1.0 drops packets" --on-missing-version skip --invalidation delete',
    'patchbay rollback --label zone=north --patch-set net-2026-11 --reason "1.1.0 drops packets" --dry-run',
  );
}

/** Returns what to roll back as members of a request, and its name. @throws {UsageError} unless exactly one is given. */
function toSubject(module: string | undefined, patchSet: string | undefined) {
  if (module !== undefined && patchSet === undefined) return { name: module, module };
  if (patchSet?.includes('@')) throw new UsageError(`--patch-set: expected a name without a version, received "${patchSet}"`);
  if (patchSet !== undefined && module === undefined) return { name: patchSet, patchSet };
  if (module !== undefined) throw new UsageError('--module cannot be combined with --patch-set');
  throw new UsageError('either --module or --patch-set is required');
}

type Body = Schemas['NewRollback'];

async function requestRollback(context: CommandContext, body: Body): Promise<Schemas['AcceptedRollback']> {
  const accepted = unwrapResponse(await context.client.POST('/v1/rollbacks', { body }));
  if (!('batch' in accepted)) throw new CommandError('the service returned a preview instead of a rollback');
  const { unchanged, skipped } = accepted;
  if (unchanged.length > 0) printNote(context, `skipped, because they have the version: ${formatDeviceCount(unchanged.length)}`);
  if (skipped.length > 0) printNote(context, `skipped, because they have no version to roll back to: ${formatDeviceCount(skipped.length)}`);
  return accepted;
}

/** Prints what a rollback would do on each device. */
async function previewRollback(context: CommandContext, body: Body): Promise<ExitCode> {
  const preview = unwrapResponse(await context.client.POST('/v1/rollbacks', { body: { ...body, dryRun: true } }));
  if (!('items' in preview)) throw new CommandError('the service started a rollback instead of a preview');
  printResult(context, preview, () => {
    const sorted = preview.items.toSorted((left, right) => right.action.localeCompare(left.action));
    const rows = sorted.slice(0, rowLimit).map(({ deviceName, action, modules, reason }) => {
      const changes = modules.map((changed) => `${changed.module} ${changed.currentVersion ?? 'none'} → ${changed.version ?? 'none'}`);
      return [deviceName, action, changes.join(', '), reason ?? ''];
    });
    const more = sorted.length > rowLimit ? [`and ${sorted.length - rowLimit} more; --json lists all`] : [];
    const held = preview.items.filter((item) => item.held);
    return [...formatHeld(held.length, held), ...formatTable(['DEVICE', 'ACTION', 'CHANGES', 'REASON'], rows), ...more];
  });
  if (body.onMissingVersion !== 'skip' && preview.items.some(({ action }) => action === 'skip'))
    printNote(context, 'some devices have no version to roll back to: without --on-missing-version skip, the rollback is rejected');
  return exitCodes.success;
}
