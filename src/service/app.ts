// The service: an installation with its REST API, documentation and dashboard.

import cookies from '@fastify/cookie';
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { pino } from 'pino';
import type { $ZodType } from 'zod/v4/core';
import { createLogger, type LoggerSettings } from '../protocol/logging.ts';
import { addAgentRoutes } from './agents/routes.ts';
import { addEventRoutes } from './audit/event-routes.ts';
import { addAuditRoutes } from './audit/routes.ts';
import { addBuildLifecycleRoutes } from './build-lifecycle/routes.ts';
import { addChannelRoutes } from './channels/routes.ts';
import { addDecommissioningRoutes } from './decommissioning/routes.ts';
import { addPromotionRoutes } from './desired-state/promotion-routes.ts';
import { addAssignmentRoutes } from './desired-state/routes.ts';
import { addDeviceRoutes, resolveDeviceNames } from './devices/routes.ts';
import { addGroupRoutes } from './groups/routes.ts';
import { addMetricsRoute } from './health/metrics-routes.ts';
import { addOperationsRoutes } from './health/routes.ts';
import { addHistoryRoutes } from './history/routes.ts';
import { addHostRoutes } from './hosts/routes.ts';
import { addAccessControl, type KeyPolicy } from './http/access.ts';
import { protectBrowsers } from './http/browser-protection.ts';
import { createProxyTrust } from './http/client-address.ts';
import { ClientErrors } from './http/client-errors.ts';
import { allowedConnections } from './http/connection-limit.ts';
import { addDashboard } from './http/dashboard.ts';
import { acceptEmptyBodies } from './http/empty-bodies.ts';
import { addIdempotency } from './http/idempotency.ts';
import { addDocumentation } from './http/openapi-document.ts';
import { addErrorHandlers, handleRouterError } from './http/problems.ts';
import { addLoadShedding, createRateLimiter, type Limits, maxConnections, serverOptions } from './http/request-limits.ts';
import { getRequestId, RequestLog } from './http/request-log.ts';
import { addRequestMetrics } from './http/request-metrics.ts';
import { addRequestTraces } from './http/request-traces.ts';
import { addScopeChecks } from './http/scopes.ts';
import { rejectInvalidUnicode } from './http/unicode-validation.ts';
import { Installation, type InstallationSettings } from './installation.ts';
import { addKeyRoutes } from './keys/routes.ts';
import { addLoadBatchRoutes } from './load-batches/routes.ts';
import { addLoadRoutes } from './loads/routes.ts';
import { addBuildRoutes } from './modules/routes.ts';
import { addMoveRoutes } from './moves/routes.ts';
import { addPatchSetRoutes } from './patch-sets/routes.ts';
import { addProgramRoutes } from './programs/routes.ts';
import { addProvenanceRoutes } from './provenance/routes.ts';
import { addPublisherKeyRoutes } from './publisher-keys/routes.ts';
import { addRollbackRoutes } from './rollbacks/routes.ts';
import { addRolloutDecisionRoutes } from './rollouts/decision-routes.ts';
import { addRolloutDeviceRoutes } from './rollouts/device-routes.ts';
import { addRolloutRoutes } from './rollouts/routes.ts';
import { addSignInRoutes } from './sign-in/routes.ts';
import { addSignaturePolicyRoutes } from './signature-policies/routes.ts';
import { addSigningKeyRoutes } from './signing-keys/routes.ts';
import { addWebhookRoutes } from './webhooks/routes.ts';

export type ServiceOptions = InstallationSettings & {
  /** SQLite file, created if it does not exist; or a PostgreSQL URL. */
  readonly database: string;
  readonly logger: Pick<LoggerSettings, 'level' | 'stream'> | false;
  /** Whether API keys are required. */
  readonly keys: KeyPolicy;
  readonly limits: Limits;
  /** Addresses and CIDR ranges of proxies whose `X-Forwarded-For` is trusted; none by default. */
  readonly trustedProxies?: readonly string[];
};

/** Creates the service, ready to listen. Closing it closes the database and everything else. @throws {MigrationError} */
export async function createService({
  database,
  logger,
  keys,
  limits,
  trustedProxies = [],
  tracer = null,
  ...settings
}: ServiceOptions): Promise<FastifyInstance> {
  const log =
    logger === false
      ? pino({ enabled: false })
      : createLogger({
          ...logger,
          secrets: [settings.joinToken, ...(settings.provider?.clientSecret == null ? [] : [settings.provider.clientSecret])],
        });
  const installation = await Installation.open(database, { ...settings, tracer }, log);
  // Typed as Fastify's logger, so that the application has Fastify's default type.
  const loggerInstance: FastifyBaseLogger = log;
  const clientErrors = new ClientErrors();
  const app = Fastify({
    loggerInstance,
    logController: new RequestLog(),
    ...serverOptions(limits),
    schemaController: { compilersFactory: { buildValidator: rejectOtherSchemas, buildSerializer: rejectOtherSchemas } },
    forceCloseConnections: true,
    trustProxy: trustedProxies.length === 0 ? false : createProxyTrust(trustedProxies),
    clientErrorHandler: clientErrors.handleClientError,
    frameworkErrors: handleRouterError,
    genReqId: getRequestId,
  });
  clientErrors.watch(app.server);
  app.server.maxConnections = allowedConnections(maxConnections);
  app.setValidatorCompiler<$ZodType>((route) => {
    const validate = validatorCompiler(route);
    // A prebuilt module: no schema describes it, the compiler validates it.
    return (data) => (data instanceof Uint8Array ? { value: data } : validate(data));
  });
  app.setSerializerCompiler(serializerCompiler);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  app.addHook('preClose', async () => installation.endStreams());
  app.addHook('onClose', async () => installation.close());
  addErrorHandlers(app, installation.damagedRows);
  acceptEmptyBodies(app);
  rejectInvalidUnicode(app);
  addRequestTraces(app, tracer);
  addRequestMetrics(app, installation.metrics.registry);
  await protectBrowsers(app);
  await app.register(cookies);
  await addLoadShedding(app, limits);
  addAccessControl(app, installation, keys, await createRateLimiter(app, limits));
  await addDocumentation(app);
  await app.register(async (scope) => {
    const api = scope.withTypeProvider<ZodTypeProvider>();
    addScopeChecks(scope, {
      device: (reference, selector) => installation.devices.checkScope(reference, selector),
      load: (id, selector) => installation.loads.checkScope(id, selector),
      batch: (id, selector) => installation.loadBatches.checkScope(id, selector),
      rollout: (id, selector) => installation.rollouts.checkScope(id, selector),
    });
    addIdempotency(scope, installation.idempotencyStore);
    resolveDeviceNames(api, installation);
    await scope.register(async (builds) => addBuildRoutes(builds.withTypeProvider<ZodTypeProvider>(), installation));
    addBuildLifecycleRoutes(api, installation);
    addProvenanceRoutes(api, installation);
    addPatchSetRoutes(api, installation);
    addDeviceRoutes(api, installation);
    addDecommissioningRoutes(api, installation);
    addGroupRoutes(api, installation);
    addChannelRoutes(api, installation);
    addPromotionRoutes(api, installation);
    addAssignmentRoutes(api, installation);
    addHostRoutes(api, installation);
    addMoveRoutes(api, installation);
    addHistoryRoutes(api, installation);
    addProgramRoutes(api, installation);
    addLoadRoutes(api, installation);
    addLoadBatchRoutes(api, installation);
    addRollbackRoutes(api, installation);
    addRolloutRoutes(api, installation);
    addRolloutDeviceRoutes(api, installation);
    addRolloutDecisionRoutes(api, installation);
    addOperationsRoutes(api, installation);
    addAuditRoutes(api, installation);
    addMetricsRoute(api, installation);
    addEventRoutes(api, installation);
    addKeyRoutes(api, installation);
    addSignInRoutes(api, installation);
    addSigningKeyRoutes(api, installation);
    addPublisherKeyRoutes(api, installation);
    addSignaturePolicyRoutes(api, installation);
    addWebhookRoutes(api, installation);
  });
  await app.register(async (scope) => addDashboard(scope.withTypeProvider<ZodTypeProvider>()));
  await app.register(async (scope) => addAgentRoutes(scope.withTypeProvider<ZodTypeProvider>(), installation, tracer));
  return app;
}

/** Without this, Fastify loads its own compilers, more than a hundred files, although no schema needs them. */
const rejectOtherSchemas = () => {
  throw new Error('schemas must be Zod schemas');
};
