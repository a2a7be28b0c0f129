// Startup of arriving images before the swap: instantiates those whose instantiation can fail, runs their self-checks, and takes over the state of the
// previous versions. All of it happens at one safepoint. New versions call new ones and old versions call old ones, as they will when they run.

import { StateTransfer } from '../linker/state-transfer.ts';
import type { Processor } from '../processor.ts';
import { callLifecycleExport, hasLifecycleExport, runBeforeUnload, runSelfCheck } from './hooks.ts';
import type { LoadTarget } from './load-request.ts';
import type { LoadedImage } from './loaded-image.ts';
import { type PlacedMember, runForMember, type StartFacts } from './placed-member.ts';

type Started = PlacedMember & StartFacts;

/** Starts the arriving images; the module table is as before when this returns. @throws {Error} if one does not start. */
export function startImages({ processor, moduleTable }: LoadTarget, placed: readonly PlacedMember[]): Started[] {
  // Not `point`: a module that is instantiated meanwhile may not import what the old version, which may stay, has no slot for.
  const enterNew = () => {
    for (const { module, current } of placed) moduleTable.update(module, current);
  };
  const enterOld = () => {
    for (const { module, previous } of placed) moduleTable.point(module, previous);
  };
  try {
    enterNew();
    const checked = placed.map((member) => ({ ...member, selfCheck: runForMember(member, () => checkImage(processor, member)) }));
    enterOld();
    // After the self-checks, so that a version that cannot take over never disturbs the old one; before the transfer, which saves what the hooks leave.
    const unloading = checked.map((member) => ({ ...member, beforeUnload: runForMember(member, () => prepareUnload(processor, member)) }));
    const saved = unloading.map((member) => ({ ...member, transfer: runForMember(member, () => saveState(processor, member)) }));
    enterNew();
    return saved.map(({ transfer, ...member }) => {
      return { ...member, stateWords: runForMember(member, () => restoreState(processor, member, transfer)) };
    });
  } finally {
    enterOld();
  }
}

function checkImage(processor: Processor, { arriving, current }: PlacedMember): StartFacts['selfCheck'] {
  if (arriving === null || current === null) return 'none';
  const { mayFailToInstantiate, initialize } = arriving.image.stamp;
  if (mayFailToInstantiate || initialize) current.functionAt(0);
  return runSelfCheck(processor, current);
}

function prepareUnload(processor: Processor, { previous }: PlacedMember): StartFacts['beforeUnload'] {
  return previous === null ? 'none' : runBeforeUnload(processor, previous);
}

/** Saves the state of the previous version if both versions support it; returns null if not. @throws {Error} if the version traps. */
function saveState(processor: Processor, { previous, current }: PlacedMember): StateTransfer | null {
  if (previous === null || current === null || !transfersState(previous, current)) return null;
  const transfer = new StateTransfer();
  try {
    processor.transferState(transfer, () => callLifecycleExport(processor, previous, 'state_save'));
  } catch (error) {
    previous.recordTaint('trap');
    throw error;
  }
  return transfer;
}

function transfersState(previous: LoadedImage, current: LoadedImage): boolean {
  return hasLifecycleExport(previous, 'state_save') && hasLifecycleExport(current, 'state_restore');
}

/** Restores saved state. Returns the number of words; null if none was saved. @throws {Error} if the new version traps. */
function restoreState(processor: Processor, { current }: PlacedMember, transfer: StateTransfer | null): number | null {
  if (transfer === null || current === null) return null;
  processor.transferState(transfer, () => callLifecycleExport(processor, current, 'state_restore'));
  return transfer.length;
}
