// The pages, by the name of their path.

import type { FunctionComponent } from 'preact';
import type { PageProps } from './navigation/paths.ts';
import type { PageName } from './page-paths.ts';
import { AuditPage } from './pages/audit/audit-page.tsx';
import { BuildPage } from './pages/builds/build-page.tsx';
import { BuildsPage } from './pages/builds/builds-page.tsx';
import { ModulesPage } from './pages/builds/modules-page.tsx';
import { AssignmentPage } from './pages/desired-state/assignment-page.tsx';
import { ChannelPage } from './pages/desired-state/channel-page.tsx';
import { DesiredStatePage } from './pages/desired-state/desired-state-page.tsx';
import { DevicePage } from './pages/device/device-page.tsx';
import { FleetPage } from './pages/fleet/fleet-page.tsx';
import { GroupsPage } from './pages/groups/groups-page.tsx';
import { LoadPage } from './pages/load/load-page.tsx';
import { LoadBatchPage } from './pages/loads/load-batch-page.tsx';
import { LoadBatchesPage } from './pages/loads/load-batches-page.tsx';
import { LoadsPage } from './pages/loads/loads-page.tsx';
import { NewRolloutPage } from './pages/rollouts/new-rollout-page.tsx';
import { RolloutPage } from './pages/rollouts/rollout-page.tsx';
import { RolloutsPage } from './pages/rollouts/rollouts-page.tsx';
import { WebhooksPage } from './pages/webhooks/webhooks-page.tsx';

export const pages: Readonly<Record<PageName, FunctionComponent<PageProps>>> = {
  fleet: FleetPage,
  device: DevicePage,
  loads: LoadsPage,
  load: LoadPage,
  'load-batches': LoadBatchesPage,
  'load-batch': LoadBatchPage,
  rollouts: RolloutsPage,
  'new-rollout': NewRolloutPage,
  rollout: RolloutPage,
  groups: GroupsPage,
  'desired-state': DesiredStatePage,
  assignment: AssignmentPage,
  channel: ChannelPage,
  modules: ModulesPage,
  builds: BuildsPage,
  build: BuildPage,
  webhooks: WebhooksPage,
  audit: AuditPage,
};
