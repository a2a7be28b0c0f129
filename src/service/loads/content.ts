// The content of a load: the builds that it loads, and the modules that it unloads.

import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { LoadableBuild } from '../modules/repository.ts';
import type { PatchSetRecord } from '../patch-sets/repository.ts';
import type { DemandsOn } from '../signature-policies/signature-demands.ts';
import type { NewLoad } from './repository.ts';

export const loadKinds = ['build', 'patch-set', 'unload'] as const;

/** One member of a patch set: a build to load, or a module to unload. */
export type MemberContent =
  | { readonly action: 'load'; readonly build: LoadableBuild }
  | { readonly action: 'unload'; readonly module: string };

export type LoadContent =
  | { readonly kind: 'build'; readonly build: LoadableBuild }
  | {
      readonly kind: 'patch-set';
      /** The set to load; of a rollback, the set whose load it reverts. */
      readonly patchSet: { readonly id: string; readonly name: string; readonly version: string };
      readonly members: readonly MemberContent[];
    }
  | {
      readonly kind: 'unload';
      readonly module: string;
      /** The installed version, as far as the service knows. */
      readonly version: string;
      /** Reason for unloading a module that others import; null: the device refuses that. */
      readonly forceReason: string | null;
    };

/** Returns the content of a load of a patch set. */
export function patchSetContent({ id, name, version, members }: PatchSetRecord): LoadContent {
  return {
    kind: 'patch-set',
    patchSet: { id, name, version },
    members: members.map(({ buildId, envelope: _, ...build }) => ({ action: 'load', build: { id: buildId, ...build } })),
  };
}

/** Returns the builds that a load needs. */
export function buildsOf(content: LoadContent): readonly LoadableBuild[] {
  switch (content.kind) {
    case 'build':
      return [content.build];
    case 'patch-set':
      return content.members.flatMap((member) => (member.action === 'load' ? [member.build] : []));
    case 'unload':
      return [];
  }
}

/** Returns the version in lists of loads. */
export function versionOf(content: LoadContent): string {
  return toColumns(content).version;
}

/** Returns the columns of a load that depend on its content. */
export function toColumns(content: LoadContent): Pick<NewLoad, 'kind' | 'buildId' | 'module' | 'version' | 'patchSetId' | 'forceReason'> {
  const common = { kind: content.kind, buildId: '', patchSetId: null, forceReason: null };
  switch (content.kind) {
    case 'build': {
      const { id, module, version } = content.build;
      return { ...common, module, version, buildId: id };
    }
    case 'patch-set': {
      const { id, name, version } = content.patchSet;
      return { ...common, module: name, version, patchSetId: id };
    }
    case 'unload': {
      const { module, version, forceReason } = content;
      return { ...common, module, version, forceReason };
    }
  }
}

/** Returns the part of an order that depends on the content of its load. @param device Identifier of the device. */
export function toOrderContent(content: LoadContent, policy: LoadPolicy, device: string, demandsOn: DemandsOn) {
  const toImage = ({ module, version, imageDigest: image }: LoadableBuild) => ({
    module,
    version,
    image,
    demands: demandsOn(module, device),
  });
  switch (content.kind) {
    case 'build':
      return { kind: 'load' as const, ...toImage(content.build), ...policy };
    case 'patch-set': {
      const { name, version } = content.patchSet;
      const members = content.members.map((member) =>
        member.action === 'load' ? { action: member.action, ...toImage(member.build) } : member,
      );
      return { kind: 'load-patch-set' as const, patchSet: { name, version }, members, ...policy };
    }
    case 'unload': {
      const { strategy, invalidation, drainMilliseconds } = policy;
      const { module, forceReason } = content;
      return { kind: 'unload-module' as const, module, strategy, invalidation, drainMilliseconds, forceReason };
    }
  }
}

/** Returns the facts of the audit event about the request of loads. @param isRollback Whether the builds of a patch set depend on the device. */
export function toAuditFacts(content: LoadContent, policy: LoadPolicy, isRollback: boolean) {
  const { kind } = content;
  if (kind === 'build' || (kind === 'patch-set' && isRollback)) return { kind, ...policy };
  if (kind === 'patch-set')
    return {
      kind,
      patchSet: content.patchSet.id,
      builds: buildsOf(content).map(({ module, version }) => `${module}@${version}`),
      ...policy,
    };
  const { strategy, invalidation, drainMilliseconds } = policy;
  return { kind, strategy, invalidation, drainMilliseconds, forceReason: content.forceReason };
}
