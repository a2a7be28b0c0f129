// The service: control behind a REST API, with its documentation.

import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { pino } from 'pino';
import type { $ZodType } from 'zod/v4/core';
import { Control, type ControlSettings } from '../control/control.ts';
import { createLogger, type LoggerSettings } from '../protocol/logging.ts';
import { checkAccess, type KeyPolicy } from './access.ts';
import { protectBrowsers } from './browsers.ts';
import { trustOf } from './client-address.ts';
import { ClientErrors } from './client-errors.ts';
import { addDashboard } from './dashboard.ts';
import { acceptEmptyBodies } from './empty-bodies.ts';
import { makePostsRepeatable } from './idempotency.ts';
import { connectionLimit, type Limits, limitRates, refuseOverload, serverOptions } from './limits.ts';
import { connectionsAllowed } from './open-files.ts';
import { addDocumentation } from './openapi-document.ts';
import { answerNoRoute, answerWithProblems } from './problems.ts';
import { RequestLog, requestIdOf } from './request-log.ts';
import { measureRequests } from './request-measurements.ts';
import { addAgentRoutes } from './routes/agents.ts';
import { addAuditRoutes } from './routes/audit.ts';
import { addBuildRoutes } from './routes/builds.ts';
import { addDeviceRoutes } from './routes/devices.ts';
import { addEventRoutes } from './routes/events.ts';
import { addHistoryRoutes } from './routes/history.ts';
import { addKeyRoutes } from './routes/keys.ts';
import { addLoadRoutes } from './routes/loads.ts';
import { addMetricsRoute } from './routes/metrics.ts';
import { addOperationsRoutes } from './routes/operations.ts';
import { addProgramRoutes } from './routes/programs.ts';
import { addProvenanceRoutes } from './routes/provenance.ts';
import { addPublisherKeyRoutes } from './routes/publisher-keys.ts';
import { addRollbackRoutes } from './routes/rollbacks.ts';
import { addRolloutRoutes } from './routes/rollouts.ts';
import { addSignaturePolicyRoutes } from './routes/signature-policies.ts';
import { addSigningKeyRoutes } from './routes/signing-keys.ts';
import { refuseNoTexts } from './texts.ts';

export type ServiceOptions = ControlSettings & {
  /** SQLite file; made if it is not there. */
  readonly database: string;
  readonly logger: Pick<LoggerSettings, 'level' | 'stream'> | false;
  /** Whether anybody is asked for a key. */
  readonly keys: KeyPolicy;
  readonly limits: Limits;
  /** Addresses and CIDR ranges of proxies whose `X-Forwarded-For` says who the client is; by default none. */
  readonly trustedProxies?: readonly string[];
};

/** The service, ready to listen; closing it closes the database and all else. @throws {MigrationError} */
export async function createService({
  database,
  logger,
  keys,
  limits,
  trustedProxies = [],
  ...settings
}: ServiceOptions): Promise<FastifyInstance> {
  const log = logger === false ? pino({ enabled: false }) : createLogger({ ...logger, secrets: [settings.joinToken] });
  const control = await Control.open(database, settings, log);
  // The logger as Fastify knows it, so that the type of the application is the usual one.
  const loggerInstance: FastifyBaseLogger = log;
  const clientErrors = new ClientErrors();
  const app = Fastify({
    loggerInstance,
    logController: new RequestLog(),
    ...serverOptions(limits),
    schemaController: { compilersFactory: { buildValidator: noOtherCompiler, buildSerializer: noOtherCompiler } },
    forceCloseConnections: true,
    trustProxy: trustedProxies.length === 0 ? false : trustOf(trustedProxies),
    clientErrorHandler: clientErrors.handle,
    frameworkErrors: answerNoRoute,
    genReqId: requestIdOf,
  });
  clientErrors.watch(app.server);
  app.server.maxConnections = connectionsAllowed(connectionLimit);
  app.setValidatorCompiler<$ZodType>((route) => {
    const validate = validatorCompiler(route);
    // A prebuilt module, which no schema describes further: the compiler checks it.
    return (data) => (data instanceof Uint8Array ? { value: data } : validate(data));
  });
  app.setSerializerCompiler(serializerCompiler);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  app.addHook('preClose', async () => control.endStreams());
  app.addHook('onClose', async () => control.close());
  answerWithProblems(app, control.damagedRows);
  acceptEmptyBodies(app);
  refuseNoTexts(app);
  measureRequests(app, control.measurements.registry);
  await protectBrowsers(app);
  await refuseOverload(app, limits);
  checkAccess(app, control, keys, await limitRates(app, limits));
  await addDocumentation(app);
  await app.register(async (scope) => {
    const api = scope.withTypeProvider<ZodTypeProvider>();
    makePostsRepeatable(scope, control.answers);
    await scope.register(async (builds) => addBuildRoutes(builds.withTypeProvider<ZodTypeProvider>(), control));
    addProvenanceRoutes(api, control);
    addDeviceRoutes(api, control);
    addHistoryRoutes(api, control);
    addProgramRoutes(api, control);
    addLoadRoutes(api, control);
    addRollbackRoutes(api, control);
    addRolloutRoutes(api, control);
    addOperationsRoutes(api, control);
    addAuditRoutes(api, control);
    addMetricsRoute(api, control);
    addEventRoutes(api, control);
    addKeyRoutes(api, control);
    addSigningKeyRoutes(api, control);
    addPublisherKeyRoutes(api, control);
    addSignaturePolicyRoutes(api, control);
  });
  await app.register(async (scope) => addDashboard(scope.withTypeProvider<ZodTypeProvider>()));
  await app.register(async (scope) => addAgentRoutes(scope.withTypeProvider<ZodTypeProvider>(), control));
  return app;
}

/** Fastify would read its own otherwise, more than a hundred files, though none of the schemas is of their kind. */
const noOtherCompiler = () => {
  throw new Error('schemas are those of zod');
};
