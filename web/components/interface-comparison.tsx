// The similarity report of two versions (patent claim 11), export by export.

import type { Schemas } from '../../src/client/client.ts';
import { compareInterfaces } from '../../src/machine/isolation/similarity.ts';
import { Badge } from './badge.tsx';
import './interface-comparison.css';

type Interface = Schemas['Build']['interface'];
type ExportedFunction = Interface['exports'][number];
type Compared = { readonly version: string; readonly interface: Interface };

export function InterfaceComparison({ old, next }: { readonly old: Compared; readonly next: Compared }) {
  const similarity = compareInterfaces(old.interface, next.interface);
  const before = new Map(old.interface.exports.map((exported) => [exported.name, exported]));
  const after = new Map(next.interface.exports.map((exported) => [exported.name, exported]));
  const same = [...before.keys()].filter((name) => !similarity.removed.includes(name) && !similarity.changed.includes(name));
  const lines = [
    ...similarity.removed.map((name) => ['removed', name] as const),
    ...similarity.changed.map((name) => ['changed', name] as const),
    ...similarity.added.map((name) => ['added', name] as const),
    ...same.map((name) => ['same', name] as const),
  ];
  return (
    <section class="comparison" aria-label={`Similarity of ${next.version} to ${old.version}`}>
      <p>
        <Badge tone={similarity.similar ? 'good' : 'bad'}>{similarity.similar ? 'substantially similar' : 'dissimilar'}</Badge>{' '}
        <span class="soft">
          {similarity.similar
            ? `${next.version} has every export of ${old.version} with the same type`
            : `${next.version} removes or changes exports of ${old.version}`}
        </span>
      </p>
      <ul>
        {lines.map(([change, name]) => (
          <li key={name} data-is={change}>
            <span class="change">{change}</span>
            <code>
              {change === 'changed'
                ? `${signature(before.get(name))}, now ${types(after.get(name))}`
                : signature(after.get(name) ?? before.get(name))}
            </code>
          </li>
        ))}
      </ul>
    </section>
  );
}

function signature(exported: ExportedFunction | undefined): string {
  return exported === undefined ? '' : `${exported.name}${types(exported)}`;
}

function types(exported: ExportedFunction | undefined): string {
  if (exported === undefined) return '';
  const { parameters, results } = exported;
  return `(${parameters.join(', ')})${results.length === 0 ? '' : `: ${results.join(', ')}`}`;
}
