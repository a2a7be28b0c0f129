// `patchbay completion`: prints shell completion scripts, generated from the tree of commands.

import console from 'node:console';
import { Argument, type Command } from '@commander-js/extra-typings';
import { generateBashScript, generateFishScript, generateZshScript, listCommandNodes } from '../terminal/completion-scripts.ts';
import { addExamples } from './examples.ts';

const generators = { bash: generateBashScript, zsh: generateZshScript, fish: generateFishScript };

/** @param createWholeProgram Creates the tree with every command. */
export function addCompletionCommand(completion: Command, createWholeProgram: () => Promise<Command>): void {
  const complete = completion
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish'] as const))
    .addHelpText('after', '\nAdd the script to the startup files of the shell:')
    .action(async (shell) => {
      console.log(generators[shell](listCommandNodes(await createWholeProgram())));
    });
  addExamples(
    complete,
    'patchbay completion bash >> ~/.bashrc',
    'patchbay completion zsh > ~/.zfunc/_patchbay',
    'patchbay completion fish > ~/.config/fish/completions/patchbay.fish',
  );
}
