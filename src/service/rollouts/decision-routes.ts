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
        'It goes on from where it was. A wave that has failed is not judged any more: its other devices get the build, and the next wave follows. To try the failed loads again, retry them instead.',
      decision: resume,
    },
    {
      path: 'retry-failed',
      operationId: 'retryFailedLoads',
      summary: 'Try the failed loads of a rollout again',
      description:
        'Only devices whose loads have not succeeded; their waves are judged anew, and a rollout that was paused or has completed goes on with them.',
      decision: retryFailed,
    },
    {
      path: 'close',
      operationId: 'closeRollout',
      summary: 'Let no more devices join a dynamic rollout',
      description: 'It ends when those that it has are done.',
      decision: close,
    },
  ] as const;
  for (const { path, decision, ...description } of decisions) {
    app.post(
      `/v1/rollouts/:rollout/${path}`,
      {
        config: { access: 'operator' },
        schema: {
          tags,
          ...description,
          params: rolloutParameter,
          response: {
            200: Rollout.describe('The rollout as it is now.'),
            ...postProblems('not-found', 'rollout-state', 'rollout-conflict'),
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
      config: { access: 'operator' },
      schema: {
        operationId: 'pauseRollout',
        tags,
        summary: 'Pause a rollout',
        description: 'No more loads are requested, and no wave passes. Loads that are under way go on.',
        params: rolloutParameter,
        body: PauseRollout,
        response: { 200: Rollout.describe('The rollout, paused.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, pause(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/approve',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'approveWave',
        tags,
        summary: 'Let a wave begin that waits for approval',
        description: 'Approving the same wave again changes nothing.',
        params: rolloutParameter,
        body: ApproveWave,
        response: { 200: Rollout.describe('The rollout as it is now.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, approve(request.body.wave), request)),
  );
}

function addEndingRoutes(app: Api, { rollouts }: Uses): void {
  app.post(
    '/v1/rollouts/:rollout/abort',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'abortRollout',
        tags,
        summary: 'Abort a rollout',
        description:
          'Devices that have the build keep it; loads that no host has been sent are cancelled, and the others go on. To have the devices go back, roll it back instead, or afterwards.',
        params: rolloutParameter,
        body: AbortRollout,
        response: { 200: Rollout.describe('The rollout, aborted.'), ...postProblems('not-found', 'rollout-state') },
      },
    },
    async (request) => toRollout(await applyDecision(rollouts, request.params.rollout, abort(request.body.reason ?? null), request)),
  );

  app.post(
    '/v1/rollouts/:rollout/rollback',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'rollBackRollout',
        tags,
        summary: 'Roll a rollout back',
        description:
          'Every device that has got the build, or still gets it, goes back to the version that it had. A rollout of its own does that, which is answered.',
        params: rolloutParameter,
        body: RollBackRollout,
        response: {
          202: Rollout.describe('The rollout that takes the devices back. `Location` is where it can be followed.'),
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
