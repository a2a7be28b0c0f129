// /v1/rollbacks, and the rollback of a module on one device.

import type { z } from 'zod';
import type { Devices } from '../devices/devices.ts';
import { selectorOf } from '../devices/selection-schemas.ts';
import { historyParameters } from '../history/schemas.ts';
import { scopeOf } from '../http/access.ts';
import { postProblems } from '../http/problem-schemas.ts';
import { type Api, type CreatedResponse, getRequester, toStoredResponse } from '../http/route.ts';
import { versionOf } from '../loads/content.ts';
import { locationOf, toAccepted, toHold } from '../loads/routes.ts';
import { AcceptedLoads } from '../loads/schemas.ts';
import type { CreatedRollback, PreviewedRollback, RollbackSubject, Rollbacks } from './rollbacks.ts';
import { AcceptedRollback, ModuleRollback, NewRollback, RollbackPreview } from './schemas.ts';

const tags = ['loads'];
const rules =
  'The loads have the version policy `downgrade`. The previous version of a device is the one that it had before its current version was loaded. ' +
  'Consecutive rollbacks go further back; they do not return to a version that was rolled back.';

const setRules =
  'The rollback of a patch set is one load of the kind `patch-set`, which names the set that it reverts. Consecutive rollbacks of the set revert its earlier loads.';

type Uses = { readonly devices: Devices; readonly rollbacks: Rollbacks };

export function addRollbackRoutes(app: Api, { devices, rollbacks }: Uses): void {
  app.post(
    '/v1/devices/:device/modules/:module/rollback',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'rollBackModule',
        tags,
        summary: 'Roll back a module on a device',
        description: rules,
        params: historyParameters,
        body: ModuleRollback,
        response: {
          202: AcceptedLoads.describe('The load is accepted: it reaches an outcome. `Location` is the load.'),
          ...postProblems('not-found', 'nothing-to-roll-back', 'already-installed', 'image-pruned', 'build-yanked', 'windows-closed'),
        },
      },
    },
    async (request, reply) => {
      const { device, module } = request.params;
      await devices.get(device);
      const { to = null, drainMilliseconds = null, overrideMaintenanceWindow = null, ...terms } = request.body;
      const subject = { kind: 'module' as const, module, to };
      const rollback = {
        ...terms,
        subject,
        drainMilliseconds,
        overrideMaintenanceWindow,
        selector: { devices: [device], scope: scopeOf(request) },
        onMissingVersion: 'reject' as const,
      };
      const accepted = await rollbacks.request(rollback, getRequester(request), (created) => toStoredResponse(toAccepted(created)));
      const { status, location, body } = toAccepted(accepted);
      return reply.status(status).header('location', location).send(body);
    },
  );

  app.post(
    '/v1/rollbacks',
    {
      config: { access: 'operator', scope: 'filter' },
      schema: {
        operationId: 'createRollback',
        tags,
        summary: 'Roll back a module or a patch set on several devices',
        description: `Creates one load for each selected device that is rolled back, or none at all if one cannot be created. ${rules} ${setRules}`,
        body: NewRollback,
        response: {
          200: RollbackPreview.describe('With `dryRun`: the preview.'),
          202: AcceptedRollback.describe(
            'The loads are accepted: each reaches an outcome. `Location` is the load, or the list of the loads if there are several.',
          ),
          ...postProblems(
            'nothing-to-roll-back',
            'already-installed',
            'image-pruned',
            'build-yanked',
            'unsupported-by-host',
            'windows-closed',
          ),
        },
      },
    },
    async (request, reply) => {
      const { devices: named, labels, selector, group, dryRun, ...rest } = request.body;
      const { drainMilliseconds = null, overrideMaintenanceWindow = null } = rest;
      const rollback = {
        ...rest,
        subject: subjectOf(rest),
        drainMilliseconds,
        overrideMaintenanceWindow,
        selector: selectorOf({ devices: named, labels, selector, group }, scopeOf(request)),
      };
      if (dryRun) return reply.status(200).send(toPreview(await rollbacks.preview(rollback)));
      const accepted = await rollbacks.request(rollback, getRequester(request), (created) => toStoredResponse(toAcceptedRollback(created)));
      const { status, location, body } = toAcceptedRollback(accepted);
      return reply.status(status).header('location', location).send(body);
    },
  );
}

type NamedSubject = { readonly module?: string | undefined; readonly patchSet?: string | undefined; readonly to?: string | undefined };

/** Returns the subject of a request that passed `requireOneSubject`. */
function subjectOf({ module = '', patchSet, to }: NamedSubject): RollbackSubject {
  return patchSet === undefined ? { kind: 'module', module, to: to ?? null } : { kind: 'patch-set', name: patchSet };
}

const actions = { target: 'roll-back', unchanged: 'unchanged', missing: 'skip' } as const;

function toPreview(previewed: readonly PreviewedRollback[]): z.infer<typeof RollbackPreview> {
  const items = previewed.map(({ choice, name, hold }) => {
    const changes = choice.kind === 'target' ? choice.changes : [];
    return {
      device: choice.device.id,
      deviceName: name,
      action: actions[choice.kind],
      version: versionToReturnTo(choice),
      modules: changes.map(({ module, current, target }) => ({ module, currentVersion: current, version: target })),
      reason: choice.kind === 'missing' ? choice.reason : null,
      ...toHold(hold),
    };
  });
  return { items };
}

function versionToReturnTo(choice: PreviewedRollback['choice']): string | null {
  if (choice.kind === 'missing') return null;
  return choice.kind === 'target' ? versionOf(choice.content) : choice.version;
}

function toAcceptedRollback(created: CreatedRollback): CreatedResponse<202, z.infer<typeof AcceptedRollback>> {
  const { batch, loads, unchanged, skipped } = created;
  return {
    status: 202,
    location: locationOf(created),
    body: { batch, loads: [...loads], unchanged: [...unchanged], skipped: [...skipped] },
  };
}
