// Schemas of groups.

import { z } from 'zod';
import { exampleTimes } from '../../protocol/examples.ts';
import { DisplayName, exampleIdentifier, GroupReference, LabelSelectorText } from '../../protocol/identifiers.ts';
import { count, identifier, pageQuery, pageSchema, timestamp } from '../http/common-schemas.ts';
import { orderQuery } from '../http/list-schemas.ts';
import { maintenanceLimits } from './maintenance-windows.ts';
import { exampleWindow, ScheduleWindow } from './schedule-window.ts';

export const groupParameter = z.object({
  group: z
    .string()
    .max(64)
    .describe('Identifier or name of a group.')
    .meta({ examples: [exampleIdentifier('group')] }),
});

const exampleGroup = { name: 'north', selector: 'zone=north,!beta', description: 'Devices of the northern sites' };
const exampleWindowed = { name: 'shops', selector: 'tier=shop', maintenanceWindows: [{ ...exampleWindow, days: [...exampleWindow.days] }] };

export const NewGroup = z
  .strictObject({
    name: DisplayName.describe('Name, unique among groups. It must not have the form of an identifier.'),
    selector: LabelSelectorText.describe('The group contains the devices that match this label selector.'),
    description: z.string().max(1_000).optional().describe('Description, for readers.'),
    maintenanceWindows: z
      .array(ScheduleWindow)
      .max(maintenanceLimits.windows)
      .default([])
      .describe(
        'When loads of its devices may begin. Outside these windows, loads are accepted and held. Open if one of the windows is open; default: always. For a device in several groups with windows, all of these groups must be open.',
      ),
  })
  .meta({ id: 'NewGroup', examples: [exampleGroup, exampleWindowed] });

const groupShape = {
  id: identifier('group'),
  name: z.string(),
  selector: z.string().describe('The group contains the devices that match this label selector.'),
  description: z.string().nullable(),
  maintenanceWindows: z.array(ScheduleWindow).describe('When loads of its devices may begin. Empty: always.'),
  createdAt: timestamp,
};
const exampleResponse = { id: exampleIdentifier('group'), ...exampleGroup, maintenanceWindows: [], createdAt: exampleTimes.registered };

export const Group = z
  .object(groupShape)
  .meta({ id: 'Group', description: 'A named label selector. Requests can name it to select devices.', examples: [exampleResponse] });

export const GroupDetail = z
  .object({ ...groupShape, devices: count.describe('Number of devices in the group now. Leaves out decommissioned devices.') })
  .meta({ id: 'GroupDetail', examples: [{ ...exampleResponse, devices: 12 }] });

export const GroupPage = pageSchema('GroupPage', Group);
export const groupListQuery = z.strictObject({ ...pageQuery, ...orderQuery });

/** The name or identifier of a group in a query. */
export const groupQuery = GroupReference.optional();
