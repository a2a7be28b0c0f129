// A strict parser of the Prometheus text format, version 0.0.4: deviations are errors.

type Sample = { readonly name: string; readonly labels: ReadonlyMap<string, string>; readonly value: number };
export type Family = { readonly type: string; readonly help: string; readonly samples: readonly Sample[] };

const nameForm = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const sampleForm = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const labelForm = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;
const suffixes: Readonly<Record<string, readonly string[]>> = { histogram: ['_bucket', '_sum', '_count'], summary: ['', '_sum', '_count'] };

/** Returns the metric families by name. @throws {Error} if the text violates the format. */
export function readExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const families = new Map<string, { type: string; help: string; samples: Sample[] }>();
  let current = '';
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      if (families.has(name) || !nameForm.test(name)) throw new Error(`not the help of a new family: ${line}`);
      families.set(name, { type: '', help: rest, samples: [] });
      current = name;
    } else if (keyword === 'TYPE') {
      const family = families.get(name);
      if (family === undefined || name !== current || !/^(counter|gauge|histogram|summary|untyped)$/.test(rest)) throw new Error(line);
      family.type = rest;
    } else {
      const sample = readSample(line);
      const family = families.get(current);
      if (family === undefined || !(suffixes[family.type] ?? ['']).some((suffix) => sample.name === `${current}${suffix}`))
        throw new Error(`a sample outside its family ${current}: ${line}`);
      family.samples.push(sample);
    }
  }
  for (const [name, family] of families) {
    checkUnique(name, family);
    if (family.type === 'histogram') checkHistogram(name, family);
  }
  return families;
}

function readSample(line: string): Sample {
  const [, name, inBraces = '', number] = sampleForm.exec(line) ?? [];
  if (name === undefined || number === undefined) throw new Error(`no sample: ${line}`);
  const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number);
  if (Number.isNaN(value) && number !== 'Nan' && number !== 'NaN') throw new Error(`no value: ${line}`);
  return { name, labels: readLabels(inBraces, line), value };
}

function readLabels(text: string, line: string): Map<string, string> {
  const labels = new Map<string, string>();
  let rest = text;
  while (rest !== '') {
    const [all, name, value] = labelForm.exec(rest) ?? [];
    if (all === undefined || name === undefined || value === undefined || labels.has(name)) throw new Error(`no label: ${line}`);
    labels.set(
      name,
      value.replaceAll(/\\(["\\n])/g, (_, character) => (character === 'n' ? '\n' : character)),
    );
    rest = rest.slice(all.length);
  }
  return labels;
}

const keyOf = ({ name, labels }: Sample, without = '') =>
  `${name} ${JSON.stringify([...labels].filter(([label]) => label !== without).toSorted())}`;

function checkUnique(family: string, { type, help, samples }: Family): void {
  if (type === '' || help === '') throw new Error(`${family} has no type or no help`);
  if (new Set(samples.map((sample) => keyOf(sample))).size !== samples.length) throw new Error(`${family} has a sample twice`);
}

/** Checks that the buckets rise and end in +Inf, whose value is the count. */
function checkHistogram(family: string, { samples }: Family): void {
  const buckets = Map.groupBy(
    samples.filter(({ name }) => name === `${family}_bucket`),
    (sample) => keyOf(sample, 'le').slice(sample.name.length),
  );
  const counts = samples.filter(({ name }) => name === `${family}_count`);
  if (counts.length !== buckets.size) throw new Error(`${family} has not a count for each of its buckets`);
  for (const count of counts) {
    const some = buckets.get(keyOf(count).slice(count.name.length)) ?? [];
    const bounds = some.map(({ labels }) => (labels.get('le') === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.get('le'))));
    const isRising = (values: readonly number[], isStrict: boolean) =>
      values.every((value, index) => index === 0 || value > (values[index - 1] ?? 0) || (!isStrict && value === values[index - 1]));
    const values = some.map(({ value }) => value);
    if (!isRising(bounds, true) || !isRising(values, false) || bounds.at(-1) !== Number.POSITIVE_INFINITY || values.at(-1) !== count.value)
      throw new Error(`${family} has buckets that are none: ${keyOf(count)}`);
  }
}
