// `patchbay signature-policy`: adds, lists and removes policies that require publishers' signatures of builds.

import { type Command, Option } from '@commander-js/extra-typings';
import { assertSuccess, type Client, type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveIdentifier } from '../operator/identifiers.ts';
import { groupOption, resolveSelection, selectorOption } from '../operator/load-options.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { resolvePublisherKeyIds } from '../operator/publisher-key-names.ts';
import { collectValues, readInteger } from '../option-values.ts';
import { formatLabels } from '../terminal/labels.ts';
import { addExamples } from './examples.ts';

/** Maximum number of publisher keys per policy. */
const keyLimit = 20;

export function addSignaturePolicyCommands(signaturePolicy: Command): void {
  const add = signaturePolicy
    .command('add <name>')
    .description('Require signatures of these publishers for every build that is loaded on a device, or on all devices with some labels.')
    .option('--device <device>', 'the device, by name or identifier')
    .option('--label <key=value>', 'every device with this label; repeat it to require several labels', collectValues)
    .addOption(selectorOption())
    .addOption(groupOption())
    .option('--module <name>', 'only builds of this module (default: every module)')
    .addOption(
      new Option('--publisher-key <key>', 'accepted publisher key, by name or identifier; may be repeated')
        .argParser(collectValues)
        .makeOptionMandatory(),
    )
    .option('--threshold <count>', 'number of these keys that must have signed (default: all)')
    .action((name, { device, label, selector, group, module, publisherKey, threshold }, command) =>
      runOperatorCommand(command, async (context) => {
        const one = device === undefined ? undefined : [device];
        const selection = await resolveSelection(context.client, { device: one, label, selector, group });
        const scope = 'devices' in selection ? { device: String(selection.devices[0]) } : selection;
        const required = threshold === undefined ? {} : { threshold: readInteger('threshold', threshold, 1, keyLimit) };
        const publisherKeys = await resolvePublisherKeyIds(context.client, publisherKey);
        const body = { name, ...scope, ...(module === undefined ? {} : { module }), publisherKeys, ...required };
        const added = unwrapResponse(await context.client.POST('/v1/signature-policies', { body }));
        printResult(context, added, () => [`added the policy ${added.name} (${added.id}): ${formatRequirement(added)}`]);
        return exitCodes.success;
      }),
    );
  addExamples(
    add,
    'patchbay signature-policy add released --label zone=north --publisher-key release-team',
    'patchbay signature-policy add released --selector "zone in (north,south),!beta" --publisher-key release-team',
    'patchbay signature-policy add two-of-three --device rack-1-3 --module tcp --publisher-key a --publisher-key b --publisher-key c --threshold 2',
  );

  const list = signaturePolicy
    .command('list')
    .description('List signature policies, newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (context) => {
        printList(context, await readPages(pages, (page) => readPolicies(context.client, page)), {
          headings: ['POLICY', 'NAME', 'REQUIREMENT'],
          row: (policy) => [policy.id, policy.name, formatRequirement(policy)],
          empty: 'no signature policies found',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay signature-policy list', 'patchbay signature-policy list --json');

  const remove = signaturePolicy
    .command('remove <policy>')
    .description('Remove a signature policy, by its name or identifier. It no longer applies to loads that are requested from now on.')
    .action((nameOrId, _options, command) =>
      runOperatorCommand(command, async (context) => {
        const id = await resolveIdentifier(nameOrId, {
          prefix: 'sgp_',
          noun: 'signature policy',
          listCommand: 'patchbay signature-policy list',
          readPage: (query) => readPolicies(context.client, query),
        });
        const path = { signaturePolicy: id };
        assertSuccess(await context.client.DELETE('/v1/signature-policies/{signaturePolicy}', { params: { path } }));
        printResult(context, { id }, () => [`removed the policy ${id}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay signature-policy remove released');
}

async function readPolicies(client: Client, query: { readonly limit: number }): Promise<Schemas['SignaturePolicyPage']> {
  return unwrapResponse(await client.GET('/v1/signature-policies', { params: { query } }));
}

/** Returns the requirement of a policy in one line. */
function formatRequirement({ device, labels, selector, group, module, publisherKeys, threshold }: Schemas['SignaturePolicy']): string {
  const keys = publisherKeys.length === 1 ? publisherKeys[0] : `${threshold} of ${publisherKeys.join(', ')}`;
  const criteria = [labels && formatLabels(labels), selector, group && `group ${group}`].filter((text) => text !== null);
  return `${device ?? criteria.join(' and ')} requires signatures by ${keys} for ${module ?? 'every module'}`;
}
