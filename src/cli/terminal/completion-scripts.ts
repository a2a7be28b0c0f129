// Scripts that make shells complete a program's commands, options and their values.

import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';

/** A command, by the words that lead to it joined with `/`, and what may follow there. */
type CommandNode = {
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly Flag[];
  /** The first argument where it is one of these. */
  readonly values: readonly string[];
};
type Flag = {
  readonly flags: readonly string[];
  readonly takesValue: boolean;
  readonly values: readonly string[];
  readonly summary: string;
};

/** Every place in a tree of commands. */
export function listCommandNodes(command: CommandUnknownOpts, above = ''): CommandNode[] {
  const path = `${above}${command.name()}`;
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  return [
    {
      path,
      commands: commands.map((one) => ({ name: one.name(), summary: firstSentence(one.description()) })),
      options: help.visibleOptions(command).map(toFlag),
      values: command.registeredArguments[0]?.argChoices ?? [],
    },
    // The help command that is there by itself has no place of its own.
    ...commands.filter((one) => one.parent === command).flatMap((one) => listCommandNodes(one, `${path}/`)),
  ];
}

function toFlag(option: Option): Flag {
  return {
    flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
    takesValue: option.required || option.optional,
    values: option.argChoices ?? [],
    summary: firstSentence(option.description),
  };
}

export function bashScript(places: readonly CommandNode[]): string {
  return `# bash completion of patchbay
_patchbay() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" place=patchbay candidates='' index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${COMP_WORDS[index]}" in
      ${valueFlags(places).join(' | ')}) ((index++)); continue ;;
    esac
    case "$place/\${COMP_WORDS[index]}" in
      ${pathsBelow(places).join(' | ')}) place="$place/\${COMP_WORDS[index]}" ;;
    esac
  done
  case "$place $previous" in
${flagsWithValues(places)
  .map(({ path, flag, values }) => `    '${path} ${flag}') candidates='${values.join(' ')}' ;;`)
  .join('\n')}
    *) case "$previous" in
      ${valueFlags(places).join(' | ')}) return ;;
    esac
    case "$place" in
${places.map((place) => `      ${place.path}) candidates='${candidatesOf(place).join(' ')}' ;;`).join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$candidates" -- "$current"))
}
complete -o default -F _patchbay patchbay`;
}

export function zshScript(places: readonly CommandNode[]): string {
  const described = (name: string, summary: string) => quoted(`${name.replaceAll(':', '\\:')}:${summary.replaceAll(':', '\\:')}`);
  const candidates = ({ commands, options, values }: CommandNode) => [
    ...commands.map(({ name, summary }) => described(name, summary)),
    ...values.map(quoted),
    ...options.flatMap(({ flags, summary }) => flags.map((flag) => described(flag, summary))),
  ];
  return `#compdef patchbay
# zsh completion of patchbay
_patchbay() {
  local place=patchbay previous=\${words[CURRENT-1]}
  local -i index
  local -a candidates
  for ((index = 2; index < CURRENT; index++)); do
    case "\${words[index]}" in
      (${valueFlags(places).join('|')}) ((index++)); continue ;;
    esac
    case "$place/\${words[index]}" in
      (${pathsBelow(places).join('|')}) place="$place/\${words[index]}" ;;
    esac
  done
  case "$place $previous" in
${flagsWithValues(places)
  .map(({ path, flag, values }) => `    ('${path} ${flag}') candidates=(${values.map(quoted).join(' ')}) ;;`)
  .join('\n')}
    (*) case "$previous" in
      (${valueFlags(places).join('|')}) _files; return ;;
    esac
    case "$place" in
${places.map((place) => `      (${place.path}) candidates=(${candidates(place).join(' ')}) ;;`).join('\n')}
    esac ;;
  esac
  _describe patchbay candidates || _files
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _patchbay "$@"; else compdef _patchbay patchbay; fi`;
}

export function fishScript(places: readonly CommandNode[]): string {
  const at = (path: string) => `-c patchbay -n 'test (__patchbay_place) = ${path}'`;
  const lines = places.flatMap(({ path, commands, options, values }) => [
    ...commands.map(({ name, summary }) => `complete ${at(path)} -f -a ${name} -d ${quoted(summary)}`),
    ...(values.length === 0 ? [] : [`complete ${at(path)} -f -a ${quoted(values.join(' '))}`]),
    ...options.map(({ flags, takesValue, values: allowed, summary }) => {
      const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`)).join(' ');
      const value = allowed.length > 0 ? ` -x -a ${quoted(allowed.join(' '))}` : takesValue ? ' -r' : '';
      return `complete ${at(path)} ${names}${value} -d ${quoted(summary)}`;
    }),
  ]);
  return `# fish completion of patchbay
function __patchbay_place
  set -l place patchbay
  set -l is_value no
  set -l words (commandline -opc)
  for word in $words[2..-1]
    if test $is_value = yes
      set is_value no
    else if contains -- $word ${valueFlags(places).join(' ')}
      set is_value yes
    else if contains -- $place/$word ${pathsBelow(places).join(' ')}
      set place $place/$word
    end
  end
  echo $place
end
${lines.join('\n')}`;
}

const candidatesOf = ({ commands, options, values }: CommandNode) => [
  ...commands.map(({ name }) => name),
  ...values,
  ...options.flatMap(({ flags }) => flags),
];

/** Options after which a word is their value and no command. */
function valueFlags(places: readonly CommandNode[]): string[] {
  return [...new Set(places.flatMap(({ options }) => options.filter(({ takesValue }) => takesValue).flatMap(({ flags }) => flags)))];
}

const pathsBelow = (places: readonly CommandNode[]) => places.map(({ path }) => path).filter((path) => path.includes('/'));

function flagsWithValues(places: readonly CommandNode[]): { path: string; flag: string; values: readonly string[] }[] {
  return places.flatMap(({ path, options }) =>
    options.filter(({ values }) => values.length > 0).flatMap(({ flags, values }) => flags.map((flag) => ({ path, flag, values }))),
  );
}

const firstSentence = (text: string) => text.split(/[.;](?:\s|$)/, 1)[0] ?? '';
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
