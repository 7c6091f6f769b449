import type { CommandDefinition } from '../commandDefinition.js';
import { completionScript, type Shell, SHELLS } from '../completionScript.js';
import { EXIT } from '../exitCodes.js';

export const completionCommand: CommandDefinition = {
  name: 'completion',
  about: 'print the script that lets a shell complete commands, flags, providers, modes, dialects and files',
  arguments: [{ syntax: '<shell>', about: 'the shell that loads it', choices: SHELLS }],
  flags: [],
  sections: [
    {
      title: 'Where it goes',
      lines: [
        'The script asks "millrace complete -- WORDS" at each Tab, so that a newer millrace needs no newer script. "millrace"',
        'must be on the PATH: installed globally, or as a function of the shell that calls npx.',
      ],
    },
  ],
  examples: [
    { line: 'source <(millrace completion bash)', does: 'bash: in ~/.bashrc' },
    { line: 'source <(millrace completion zsh)', does: 'zsh: in ~/.zshrc, behind compinit' },
    { line: 'millrace completion fish > ~/.config/fish/completions/millrace.fish', does: 'fish: once' },
    { line: 'millrace completion powershell | Out-String | Invoke-Expression', does: 'PowerShell: in $PROFILE' },
  ],
  exitCodes: [
    ['0', 'printed'],
    ['2', 'bad usage: an unknown shell'],
  ],
  action: ([shell], _, { stdout }) => {
    // Commander has refused any other.
    stdout.write(completionScript(shell as Shell));
    return Promise.resolve(EXIT.complete);
  },
};
