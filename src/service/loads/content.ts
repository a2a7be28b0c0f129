// The content of a load: the builds that it loads, or the module that it unloads.

import type { LoadPolicy } from '../../protocol/load-report.ts';
import type { LoadableBuild } from '../modules/repository.ts';
import type { DemandsOn } from '../signature-policies/signature-demands.ts';
import type { NewLoad } from './repository.ts';

export const loadKinds = ['build', 'patch-set', 'unload'] as const;

export type LoadContent =
  | { readonly kind: 'build'; readonly build: LoadableBuild }
  | {
      readonly kind: 'unload';
      readonly module: string;
      /** The installed version, as far as the service knows. */
      readonly version: string;
      /** Reason for unloading a module that others import; null: the device refuses that. */
      readonly forceReason: string | null;
    };

/** Returns the builds that a load needs. */
export function buildsOf(content: LoadContent): readonly LoadableBuild[] {
  return content.kind === 'build' ? [content.build] : [];
}

/** Returns the version in lists of loads. */
export function versionOf(content: LoadContent): string {
  return content.kind === 'build' ? content.build.version : content.version;
}

/** Returns the columns of a load that depend on its content. */
export function toColumns(content: LoadContent): Pick<NewLoad, 'kind' | 'buildId' | 'module' | 'version' | 'patchSetId' | 'forceReason'> {
  const common = { kind: content.kind, version: versionOf(content), buildId: '', patchSetId: null, forceReason: null };
  switch (content.kind) {
    case 'build':
      return { ...common, module: content.build.module, buildId: content.build.id };
    case 'unload':
      return { ...common, module: content.module, forceReason: content.forceReason };
  }
}

/** Returns the part of an order that depends on the content of its load. @param device Identifier of the device. */
export function toOrderContent(content: LoadContent, policy: LoadPolicy, device: string, demandsOn: DemandsOn) {
  switch (content.kind) {
    case 'build': {
      const { module, version, imageDigest: image } = content.build;
      return { kind: 'load' as const, module, version, image, ...policy, demands: demandsOn(module, device) };
    }
    case 'unload': {
      const { strategy, invalidation, drainMilliseconds } = policy;
      const { module, forceReason } = content;
      return { kind: 'unload-module' as const, module, strategy, invalidation, drainMilliseconds, forceReason };
    }
  }
}

/** Returns the facts of the audit event about the request of loads. */
export function toAuditFacts(content: LoadContent, policy: LoadPolicy) {
  if (content.kind === 'build') return { kind: content.kind, ...policy };
  const { strategy, invalidation, drainMilliseconds } = policy;
  return { kind: content.kind, strategy, invalidation, drainMilliseconds, forceReason: content.forceReason };
}
