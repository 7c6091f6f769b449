import { script } from '@bomb.sh/tab';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;
export type Shell = (typeof SHELLS)[number];

/** The script that makes a shell ask for completions. */
export function completionScript(shell: Shell): string {
  return shell === 'bash'
    ? BASH
    : printedBy(() => {
        script(shell, 'millrace', 'millrace');
      });
}

/** The library prints what is wanted as a text; it does so before it returns. */
function printedBy(print: () => void): string {
  const printed: unknown[] = [];
  const { log } = console;
  console.log = (text: unknown) => printed.push(text);
  try {
    print();
  } finally {
    console.log = log;
  }
  return `${printed.join('\n').trimEnd()}\n`;
}

/**
 * Of our own: the library's needs the package bash-completion, never completes files, hands what is typed to `eval`, and cannot be
 * loaded beside that of another program. Bash splits words at `=` and `:`, and they are put together again.
 */
const BASH = `# bash completion for millrace; bash 3.2 or later, and nothing else
_millrace_complete() {
    local cur="\${COMP_WORDS[COMP_CWORD]}" words=() word line directive at
    for ((at = 1; at <= COMP_CWORD; at += 1)); do
        word="\${COMP_WORDS[at]}"
        if [[ \${#words[@]} -gt 0 && ( "$word" == [=:]* || "\${words[\${#words[@]}-1]}" == *[=:] ) && "\${words[\${#words[@]}-1]}" != "" ]]; then
            words[\${#words[@]}-1]+="$word"
        else
            words+=("$word")
        fi
    done
    [[ "$cur" == [=:] ]] && cur=""
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
            :*) directive="\${line#:}" ;;
            *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
        esac
    done < <(millrace complete -- "\${words[@]}" 2>/dev/null)
    case "$directive" in
        0)
            if compopt -o default 2>/dev/null; then return; fi
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
            ;;
        16)
            if compopt -o dirnames -o filenames 2>/dev/null; then return; fi
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$cur")
            ;;
    esac
}
complete -F _millrace_complete millrace
`;
