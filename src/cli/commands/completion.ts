// `patchbay completion`: what makes a shell complete the commands, made from the tree of commands.

import console from 'node:console';
import { Argument, type Command } from '@commander-js/extra-typings';
import { bashScript, fishScript, listCommandNodes, zshScript } from '../terminal/completion-scripts.ts';
import { addExamples } from './examples.ts';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript };

/** @param createWholeProgram Makes the tree with everything in it. */
export function addCompletionCommand(completion: Command, createWholeProgram: () => Promise<Command>): void {
  const complete = completion
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish'] as const))
    .addHelpText('after', '\nIt is to be read by the shell when it starts, or once in this shell as below.')
    .action(async (shell) => {
      console.log(scripts[shell](listCommandNodes(await createWholeProgram())));
    });
  addExamples(
    complete,
    'patchbay completion bash >> ~/.bashrc',
    'patchbay completion zsh > ~/.zfunc/_patchbay',
    'patchbay completion fish > ~/.config/fish/completions/patchbay.fish',
  );
}
