// `patchbay signature-policy`: devices are made to demand publishers' signatures of builds.

import { type Command, Option } from '@commander-js/extra-typings';
import { type Client, ResponseError, type Schemas, unwrapResponse } from '../../client/client.ts';
import { exitCodes } from '../exit-codes.ts';
import { resolveDeviceId } from '../operator/device-names.ts';
import { resolveIdentifier } from '../operator/identifiers.ts';
import { printResult, runOperatorCommand } from '../operator/operator.ts';
import { allOption, limitOption, printList, readPages } from '../operator/pages.ts';
import { resolvePublisherKeyIds } from '../operator/publisher-key-names.ts';
import { collectValues, readInteger, readLabels, UsageError } from '../option-values.ts';
import { formatLabels } from '../terminal/labels.ts';
import { addExamples } from './examples.ts';

/** Publisher keys that one policy names. */
const keyLimit = 20;

export function addSignaturePolicyCommands(signaturePolicy: Command): void {
  const add = signaturePolicy
    .command('add <name>')
    .description('Have a device, or all that have some labels, load no build that lacks signatures of these publishers.')
    .option('--device <device>', 'the device, by name or identifier; either this or --label')
    .option('--label <key=value>', 'every device with this label; may be repeated, for those that have all of them', collectValues)
    .option('--module <name>', 'only builds of this module; without it, of every module')
    .addOption(
      new Option('--publisher-key <key>', 'a publisher key whose signature counts, by name or identifier; may be repeated')
        .argParser(collectValues)
        .makeOptionMandatory(),
    )
    .option('--threshold <count>', 'how many of these keys are to have signed; without it, all of them')
    .action((name, { device, label = [], module, publisherKey, threshold }, command) =>
      runOperatorCommand(command, async (operator) => {
        if ((device === undefined) === (label.length === 0)) throw new UsageError('give either --device or --label: who demands it');
        const scope =
          device === undefined ? { labels: readLabels(label, '--label') } : { device: await resolveDeviceId(operator.client, device) };
        const needed = threshold === undefined ? {} : { threshold: readInteger('threshold', threshold, 1, keyLimit) };
        const publisherKeys = await resolvePublisherKeyIds(operator.client, publisherKey);
        const body = { name, ...scope, ...(module === undefined ? {} : { module }), publisherKeys, ...needed };
        const added = unwrapResponse(await operator.client.POST('/v1/signature-policies', { body }));
        printResult(operator, added, () => [`the policy ${added.name} (${added.id}) holds: ${demandText(added)}`]);
        return exitCodes.success;
      }),
    );
  addExamples(
    add,
    'patchbay signature-policy add released --label zone=north --publisher-key release-team',
    'patchbay signature-policy add two-of-three --device rack-1-3 --module tcp --publisher-key a --publisher-key b --publisher-key c --threshold 2',
  );

  const list = signaturePolicy
    .command('list')
    .description('List signature policies, the newest first.')
    .addOption(limitOption())
    .addOption(allOption())
    .action((pages, command) =>
      runOperatorCommand(command, async (operator) => {
        printList(operator, await readPages(pages, (page) => askFor(operator.client, page)), {
          headings: ['POLICY', 'NAME', 'DEMANDS'],
          row: (policy) => [policy.id, policy.name, demandText(policy)],
          none: 'there are no signature policies',
        });
        return exitCodes.success;
      }),
    );
  addExamples(list, 'patchbay signature-policy list', 'patchbay signature-policy list --json');

  const remove = signaturePolicy
    .command('remove <policy>')
    .description(
      'Have nothing demanded by a policy any more, in loads that are requested from now on. It is named by its name or identifier.',
    )
    .action((named, _options, command) =>
      runOperatorCommand(command, async (operator) => {
        const id = await resolveIdentifier(named, {
          prefix: 'sgp_',
          called: 'signature policy',
          command: 'patchbay signature-policy list',
          ask: (query) => askFor(operator.client, query),
        });
        const path = { signaturePolicy: id };
        const { error, response } = await operator.client.DELETE('/v1/signature-policies/{signaturePolicy}', { params: { path } });
        if (!response.ok) throw new ResponseError(response, error);
        printResult(operator, { id }, () => [`removed the policy ${id}`]);
        return exitCodes.success;
      }),
    );
  addExamples(remove, 'patchbay signature-policy remove released');
}

async function askFor(client: Client, query: { readonly limit: number }): Promise<Schemas['SignaturePolicyPage']> {
  return unwrapResponse(await client.GET('/v1/signature-policies', { params: { query } }));
}

/** What a policy says, in a line. */
function demandText({ device, labels, module, publisherKeys, threshold }: Schemas['SignaturePolicy']): string {
  const keys = publisherKeys.length === 1 ? publisherKeys[0] : `${threshold} of ${publisherKeys.join(', ')}`;
  return `${device ?? formatLabels(labels ?? {})} loads ${module ?? 'any module'} only as signed by ${keys}`;
}
