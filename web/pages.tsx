// Every page, by the name of its path.

import type { FunctionComponent } from 'preact';
import type { PageParts } from './navigation/paths.ts';
import type { PageName } from './page-paths.ts';
import { DevicePage } from './pages/device/device-page.tsx';
import { FleetPage } from './pages/fleet/fleet-page.tsx';
import { LoadPage } from './pages/load/load-page.tsx';
import { LoadsPage } from './pages/loads/loads-page.tsx';

export const pages: Readonly<Record<PageName, FunctionComponent<PageParts>>> = {
  fleet: FleetPage,
  device: DevicePage,
  loads: LoadsPage,
  load: LoadPage,
};
