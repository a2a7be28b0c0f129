// Generates shell completion scripts from the tree of commands.

import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';

/** A command, its path such as `patchbay/load/list`, and the words that may follow it. */
type CommandNode = {
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly Flag[];
  /** Choices of the first argument. */
  readonly values: readonly string[];
};
type Flag = {
  readonly flags: readonly string[];
  readonly takesValue: boolean;
  readonly values: readonly string[];
  readonly summary: string;
};

/** Returns every command of a tree. */
export function listCommandNodes(command: CommandUnknownOpts, above = ''): CommandNode[] {
  const path = `${above}${command.name()}`;
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  return [
    {
      path,
      commands: commands.map((subcommand) => ({ name: subcommand.name(), summary: firstSentence(subcommand.description()) })),
      options: help.visibleOptions(command).map(toFlag),
      values: command.registeredArguments[0]?.argChoices ?? [],
    },
    // The implicit help command is excluded.
    ...commands.filter(({ parent }) => parent === command).flatMap((subcommand) => listCommandNodes(subcommand, `${path}/`)),
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

export function generateBashScript(nodes: readonly CommandNode[]): string {
  return `# bash completion of patchbay
_patchbay() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}" command_path=patchbay candidates='' index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${COMP_WORDS[index]}" in
      ${valueFlags(nodes).join(' | ')}) ((index++)); continue ;;
    esac
    case "$command_path/\${COMP_WORDS[index]}" in
      ${pathsBelow(nodes).join(' | ')}) command_path="$command_path/\${COMP_WORDS[index]}" ;;
    esac
  done
  case "$command_path $previous" in
${flagsWithValues(nodes)
  .map(({ path, flag, values }) => `    '${path} ${flag}') candidates='${values.join(' ')}' ;;`)
  .join('\n')}
    *) case "$previous" in
      ${valueFlags(nodes).join(' | ')}) return ;;
    esac
    case "$command_path" in
${nodes.map((node) => `      ${node.path}) candidates='${candidatesOf(node).join(' ')}' ;;`).join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$candidates" -- "$current"))
}
complete -o default -F _patchbay patchbay`;
}

export function generateZshScript(nodes: readonly CommandNode[]): string {
  const described = (name: string, summary: string) => quoted(`${name.replaceAll(':', '\\:')}:${summary.replaceAll(':', '\\:')}`);
  const candidates = ({ commands, options, values }: CommandNode) => [
    ...commands.map(({ name, summary }) => described(name, summary)),
    ...values.map(quoted),
    ...options.flatMap(({ flags, summary }) => flags.map((flag) => described(flag, summary))),
  ];
  return `#compdef patchbay
# zsh completion of patchbay
_patchbay() {
  local command_path=patchbay previous=\${words[CURRENT-1]}
  local -i index
  local -a candidates
  for ((index = 2; index < CURRENT; index++)); do
    case "\${words[index]}" in
      (${valueFlags(nodes).join('|')}) ((index++)); continue ;;
    esac
    case "$command_path/\${words[index]}" in
      (${pathsBelow(nodes).join('|')}) command_path="$command_path/\${words[index]}" ;;
    esac
  done
  case "$command_path $previous" in
${flagsWithValues(nodes)
  .map(({ path, flag, values }) => `    ('${path} ${flag}') candidates=(${values.map(quoted).join(' ')}) ;;`)
  .join('\n')}
    (*) case "$previous" in
      (${valueFlags(nodes).join('|')}) _files; return ;;
    esac
    case "$command_path" in
${nodes.map((node) => `      (${node.path}) candidates=(${candidates(node).join(' ')}) ;;`).join('\n')}
    esac ;;
  esac
  _describe patchbay candidates || _files
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _patchbay "$@"; else compdef _patchbay patchbay; fi`;
}

export function generateFishScript(nodes: readonly CommandNode[]): string {
  const at = (path: string) => `-c patchbay -n 'test (__patchbay_command_path) = ${path}'`;
  const lines = nodes.flatMap(({ path, commands, options, values }) => [
    ...commands.map(({ name, summary }) => `complete ${at(path)} -f -a ${name} -d ${quoted(summary)}`),
    ...(values.length === 0 ? [] : [`complete ${at(path)} -f -a ${quoted(values.join(' '))}`]),
    ...options.map(({ flags, takesValue, values: allowed, summary }) => {
      const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`)).join(' ');
      const value = allowed.length > 0 ? ` -x -a ${quoted(allowed.join(' '))}` : takesValue ? ' -r' : '';
      return `complete ${at(path)} ${names}${value} -d ${quoted(summary)}`;
    }),
  ]);
  return `# fish completion of patchbay
function __patchbay_command_path
  set -l command_path patchbay
  set -l is_value no
  set -l words (commandline -opc)
  for word in $words[2..-1]
    if test $is_value = yes
      set is_value no
    else if contains -- $word ${valueFlags(nodes).join(' ')}
      set is_value yes
    else if contains -- $command_path/$word ${pathsBelow(nodes).join(' ')}
      set command_path $command_path/$word
    end
  end
  echo $command_path
end
${lines.join('\n')}`;
}

const candidatesOf = ({ commands, options, values }: CommandNode) => [
  ...commands.map(({ name }) => name),
  ...values,
  ...options.flatMap(({ flags }) => flags),
];

/** Returns the flags that take the next word as their value. */
function valueFlags(nodes: readonly CommandNode[]): string[] {
  return [...new Set(nodes.flatMap(({ options }) => options.filter(({ takesValue }) => takesValue).flatMap(({ flags }) => flags)))];
}

const pathsBelow = (nodes: readonly CommandNode[]) => nodes.map(({ path }) => path).filter((path) => path.includes('/'));

function flagsWithValues(nodes: readonly CommandNode[]): { path: string; flag: string; values: readonly string[] }[] {
  return nodes.flatMap(({ path, options }) =>
    options.filter(({ values }) => values.length > 0).flatMap(({ flags, values }) => flags.map((flag) => ({ path, flag, values }))),
  );
}

const firstSentence = (text: string) => text.split(/[.;](?:\s|$)/, 1)[0] ?? '';
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
