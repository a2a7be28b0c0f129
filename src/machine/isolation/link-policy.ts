// Decides whether the links between modules are resolved after a load. Used by the device that loads modules and by load forecasts.

import { satisfies } from 'semver';
import { kernelNamespace } from '../abi.ts';
import { formatFunctionType, isSameFunctionType } from '../images/function-type.ts';
import type { FunctionType, Stamp } from '../images/stamp.ts';
import { sanitizeReason } from '../reason.ts';
import type { Link, LinkPolicy, UnresolvedLink } from './load-report.ts';

/** The part of a module that links depend on. */
export type LinkedModule = Pick<Stamp, 'module' | 'version' | 'interface' | 'dependencies'>;

export type LinkDecision = {
  readonly unresolved: readonly UnresolvedLink[];
  /** Null if the load may proceed. */
  readonly refusal: { readonly outcome: 'refused-unresolved'; readonly reason: string } | null;
};

/** The modules of a load, and those in the module table before it. Each list has a module at most once. */
export type LinkedModules = {
  readonly arriving: readonly LinkedModule[];
  readonly inMemory: readonly LinkedModule[];
  /** Names of the modules that the load unloads. */
  readonly leaving?: readonly string[];
};

export type UnloadDecision = {
  readonly unresolved: readonly UnresolvedLink[];
  /** Null if the module may be unloaded. */
  readonly refusal: { readonly outcome: 'refused-imported'; readonly reason: string } | null;
};

/** Maximum unresolved links that a reason names. */
const namedLinks = 5;
/** Maximum characters of the text of a function type. */
const typeTextLimit = 120;

/** Finds the unresolved links and decides by the policy (operation 220). */
export function checkLinks(modules: LinkedModules, linkPolicy: Exclude<LinkPolicy, 'off'>): LinkDecision {
  const unresolved = findUnresolvedLinks(modules);
  if (linkPolicy === 'warn' || unresolved.length === 0) return { unresolved, refusal: null };
  return { unresolved, refusal: { outcome: 'refused-unresolved', reason: describeUnresolved(unresolved, modules) } };
}

/**
 * Decides whether a module may be unloaded: no module in memory may import it or declare a dependency on it.
 * @param isForced Whether the module is unloaded all the same.
 */
export function checkUnload(module: string, inMemory: readonly LinkedModule[], isForced: boolean): UnloadDecision {
  const unresolved = findUnresolvedLinks({ arriving: [], inMemory, leaving: [module] });
  if (isForced || unresolved.length === 0) return { unresolved, refusal: null };
  const importers = [...new Set(unresolved.map(({ importer }) => importer.module))];
  const links = describeLinks(unresolved, { arriving: [], leaving: [module] });
  const advice = `unload ${importers.slice(0, namedLinks).join(' and ')} first, or force the unload with a reason`;
  return { unresolved, refusal: { outcome: 'refused-imported', reason: joinReason(links, advice) } };
}

/**
 * Returns the unresolved links of the arriving modules, and the links that modules in memory would lose. A link that is unresolved before the load is
 * not attributed to the load. Arriving modules may import each other.
 */
export function findUnresolvedLinks({ arriving, inMemory, leaving = [] }: LinkedModules): UnresolvedLink[] {
  const before = new Providers(inMemory);
  const after = new Providers([...inMemory.filter(({ module }) => !leaving.includes(module)), ...arriving]);
  const replaced = new Set([...arriving.map(({ module }) => module), ...leaving]);
  const remaining = inMemory.filter(({ module }) => !replaced.has(module));
  return [
    ...arriving.flatMap((module) => unresolvedLinksOf(module, after, () => true)),
    ...remaining.flatMap((module) => {
      const lost = unresolvedLinksOf(module, after, (provider) => replaced.has(provider));
      if (lost.length === 0) return [];
      const unresolvedBefore = new Set(unresolvedLinksOf(module, before, (provider) => replaced.has(provider)).map(keyOf));
      return lost.filter((link) => !unresolvedBefore.has(keyOf(link)));
    }),
  ];
}

/** The modules that provide exports. The last module of a name counts. */
class Providers {
  readonly #modules: ReadonlyMap<string, LinkedModule>;
  /** Exports by name, of the modules that were asked for one. */
  readonly #exports = new Map<string, ReadonlyMap<string, FunctionType>>();

  constructor(modules: readonly LinkedModule[]) {
    this.#modules = new Map(modules.map((module) => [module.module, module]));
  }

  versionOf(module: string): string | null {
    return this.#modules.get(module)?.version ?? null;
  }

  exportOf(module: string, name: string): FunctionType | null {
    const known = this.#exports.get(module);
    if (known !== undefined) return known.get(name) ?? null;
    const exports = new Map(this.#modules.get(module)?.interface.exports.map((exported) => [exported.name, exported]));
    this.#exports.set(module, exports);
    return exports.get(name) ?? null;
  }
}

/** Returns the unresolved links of a module to the selected providers. */
function unresolvedLinksOf(
  { module, version, interface: { imports }, dependencies }: LinkedModule,
  providers: Providers,
  isSelected: (provider: string) => boolean,
): UnresolvedLink[] {
  const importer = { module, version };
  const linkTo = (provider: string): Link => ({ importer, provider: { module: provider, version: providers.versionOf(provider) } });
  const unresolved: UnresolvedLink[] = [];
  for (const imported of imports) {
    if (imported.module === kernelNamespace || !isSelected(imported.module)) continue;
    const provided = providers.exportOf(imported.module, imported.name);
    if (provided !== null && isSameFunctionType(imported, provided)) continue;
    const link = { ...linkTo(imported.module), export: imported.name, expected: formatType(imported) };
    unresolved.push(
      provided === null ? { problem: 'missing', ...link } : { problem: 'wrong-type', ...link, provided: formatType(provided) },
    );
  }
  for (const [provider, range] of Object.entries(dependencies)) {
    if (!isSelected(provider)) continue;
    const present = providers.versionOf(provider);
    if (present === null || !satisfies(present, range)) unresolved.push({ problem: 'out-of-range', ...linkTo(provider), range });
  }
  return unresolved;
}

/** Identifies a link of one importer, whatever its provider offers. */
function keyOf(link: UnresolvedLink): string {
  const { module } = link.provider;
  return JSON.stringify(link.problem === 'out-of-range' ? [module] : [module, link.export, link.expected]);
}

/** Describes unresolved links in plain words: the first five, and the number of the others. */
export function describeLinks(
  unresolved: readonly UnresolvedLink[],
  { arriving, leaving = [] }: Omit<LinkedModules, 'inMemory'>,
): string[] {
  const arrivingModules = new Set(arriving.map(({ module }) => module));
  const describe = (link: UnresolvedLink) => describeLink(link, arrivingModules, leaving.includes(link.provider.module));
  const named = unresolved.slice(0, namedLinks).map((link) => sanitizeReason(describe(link)));
  const more = unresolved.length - named.length;
  return more === 0 ? named : [...named, `${more} more unresolved ${more === 1 ? 'link' : 'links'}`];
}

/** Describes unresolved links in plain words, with what to do. */
function describeUnresolved(unresolved: readonly UnresolvedLink[], modules: LinkedModules): string {
  const arrivingModules = new Set(modules.arriving.map(({ module }) => module));
  const [first] = unresolved;
  const advice = first === undefined ? '' : `${adviceFor(first, arrivingModules)}, or use link policy warn or off`;
  return joinReason(describeLinks(unresolved, modules), advice);
}

/** Joins problems and advice. The advice survives the limit of a reason. */
function joinReason(problems: readonly string[], advice: string): string {
  return sanitizeReason(`${sanitizeReason(problems.join('; ')).slice(0, 990 - advice.length)}: ${advice}`);
}

function describeLink(link: UnresolvedLink, arriving: ReadonlySet<string>, isLeaving: boolean): string {
  const { importer, provider } = link;
  const absent = `${provider.module} ${isLeaving ? 'would not be' : 'is not'} in memory`;
  const subject = `${importer.module}@${importer.version}${arriving.has(importer.module) ? '' : ', which is in memory,'}`;
  const present = provider.version === null ? null : `${provider.module}@${provider.version}`;
  if (link.problem === 'out-of-range') {
    const found = present === null ? absent : `${present} ${arriving.has(provider.module) ? 'would be' : 'is'} in memory`;
    return `${subject} requires ${provider.module} ${link.range}, but ${found}`;
  }
  const wanted = `${subject} imports ${provider.module}.${link.export} ${link.expected}`;
  if (present === null) return `${wanted}, but ${absent}`;
  if (link.problem === 'missing') return `${wanted}, but ${present} does not export it`;
  return `${wanted}, but ${present} exports it as ${link.provided}`;
}

/** Says what to load instead, or first. */
function adviceFor(link: UnresolvedLink, arriving: ReadonlySet<string>): string {
  const { importer, provider } = link;
  const wanted = link.problem === 'out-of-range' ? `in the range ${link.range}` : 'that exports it';
  if (arriving.has(importer.module) && !arriving.has(provider.module)) return `load a version of ${provider.module} ${wanted} first`;
  if (arriving.has(importer.module)) return `load a version of ${provider.module} ${wanted} instead`;
  const unneeded = link.problem === 'out-of-range' ? `that accepts ${provider.module}@${provider.version}` : 'that does not import it';
  return `load a version of ${provider.module} ${wanted}, or first a version of ${importer.module} ${unneeded}`;
}

/** Formats a function type, truncated to the limit. */
function formatType(type: FunctionType): string {
  const text = formatFunctionType(type);
  return text.length > typeTextLimit ? `${text.slice(0, typeTextLimit)}…` : text;
}
