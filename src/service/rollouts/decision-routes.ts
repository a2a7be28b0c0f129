// /v1/rollouts/{rollout}/…: pause, resume, approve, close, retry, abort and roll back a rollout.

import type { FastifyRequest } from 'fastify';
import { postProblems } from '../http/problem-schemas.ts';
import { type Api, getRequester, toStoredResponse } from '../http/route.ts';
import { abort, approve, close, type Decision, pause, resume, retryFailed, rollBack } from './decisions.ts';
import type { Rollouts } from './rollouts.ts';
import { toAccepted, toRollout } from './routes.ts';
import { AbortRollout, ApproveWave, PauseRollout, RollBackRollout, Rollout, rolloutParameter } from './schemas.ts';
import type { RolloutView } from './status.ts';

const tags = ['rollouts'];

type Uses = { readonly rollouts: Rollouts };

export function addRolloutDecisionRoutes(app: Api, uses: Uses): void {
  addResumptionRoutes(app, uses);
  addPauseAndApprovalRoutes(app, uses);
  addEndingRoutes(app, uses);
}

/** Decisions without a body. */
function addResumptionRoutes(app: Api, { rollouts }: Uses): void {
  const decisions = [
    {
      path: 'resume',
      operationId: 'resumeRollout',
      summary: 'Resume a paused rollout',
      description:
        'Resumes the rollout where it was paused. A failed wave is no longer evaluated: its other devices get the build, and the next wave follows. To repeat failed loads, use `retryFailedLoads` instead.',
      decision: resume,
    },
    {
      path: 'retry-failed',
      operationId: 'retryFailedLoads',
      summary: 'Retry the failed loads of a rollout',
      description:
        'Requests new loads for the devices whose loads did not succeed, and evaluates their waves again. A paused or completed rollout continues.',
      decision: retryFailed,
    },
    {
      path: 'close',
      operationId: 'closeRollout',
      summary: 'Close a dynamic rollout to new devices',
      description: 'No more devices join. The rollout ends when its devices are done.',
      decision: close,
    },
  ] as const;
  for (const { path, decision, ...description } of decisions) {
    app.post(
      `/v1/rollouts/:rollout/${path}`,
      {
        config: { access: 'operator', scope: 'path' },
        schema: {
          tags,
          ...description,
          params: rolloutParameter,
          response: {
            200: Rollout.describe('The updated rollout.'),
            ...postProblems('not-found', 'rollout-state', 'rollout-conflict', 'build-yanked'),
          },
        },
      },
      async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, decision, request)),
    );
  }
}

function addPauseAndApprovalRoutes(app: Api, { rollouts }: Uses): void {
  app.post(
    '/v1/rollouts/:rollout/pause',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'pauseRollout',
        tags,
        summary: 'Pause a rollout',
        description: 'Requests no more loads and lets no wave pass. Loads in progress continue.',
        params: rolloutParameter,
        body: PauseRollout,
        response: { 200: Rollout.describe('The paused rollout.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, pause(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/approve',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'approveWave',
        tags,
        summary: 'Approve a wave',
        description: 'Starts the wave that awaits approval. Approving a wave again has no effect.',
        params: rolloutParameter,
        body: ApproveWave,
        response: { 200: Rollout.describe('The updated rollout.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, approve(request.body.wave), request)),
  );
}

function addEndingRoutes(app: Api, { rollouts }: Uses): void {
  app.post(
    '/v1/rollouts/:rollout/abort',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'abortRollout',
        tags,
        summary: 'Abort a rollout',
        description:
          'Ends the rollout. Devices that have the build keep it. Queued loads are cancelled; loads that were sent to a host continue. To restore the previous versions, roll the rollout back instead or afterwards.',
        params: rolloutParameter,
        body: AbortRollout,
        response: { 200: Rollout.describe('The aborted rollout.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, abort(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/rollback',
    {
      config: { access: 'operator', scope: 'path' },
      schema: {
        operationId: 'rollBackRollout',
        tags,
        summary: 'Roll back a rollout',
        description: 'Creates and returns a rollout that restores the previous version of each device that has or still gets the build.',
        params: rolloutParameter,
        body: RollBackRollout,
        response: {
          202: Rollout.describe('The rollout that rolls the devices back. `Location` is its path.'),
          ...postProblems('not-found', 'rollout-state', 'rollout-conflict', 'nothing-to-roll-back'),
        },
      },
    },
    async (request, reply) => {
      const { params, body } = request;
      const rollback = await rollouts.decide(params.rollout, rollBack(body.reason), getRequester(request), (view) =>
        toStoredResponse(toAccepted(view)),
      );
      const accepted = toAccepted(rollback);
      return reply.status(accepted.status).header('location', accepted.location).send(accepted.body);
    },
  );
}

function applyDecision(rollouts: Rollouts, id: string, decision: Decision, request: FastifyRequest): Promise<RolloutView> {
  return rollouts.decide(id, decision, getRequester(request), (view) => ({
    status: 200,
    contentType: 'application/json; charset=utf-8',
    location: null,
    body: JSON.stringify(toRollout(view)),
  }));
}
