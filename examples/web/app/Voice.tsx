import type { UseStreamResult } from 'millrace/react';
import { Facts } from './Facts.js';
import { Prose } from './Prose.js';
import { isBusy } from './words.js';

/** Who speaks, and through which provider. */
const ABOUT = {
  overshot: { title: 'Overshot', provider: 'polargrid' },
  breastshot: { title: 'Breastshot', provider: 'anthropic' },
  undershot: { title: 'Undershot', provider: 'gateway' },
} as const;

interface VoiceProps {
  readonly name: keyof typeof ABOUT;
  readonly stream: UseStreamResult<[string, boolean]>;
  readonly onRetry: () => void;
}

/** One of the three answers, with its state above it and its receipt below. */
export function Voice({ name, stream, onRetry }: VoiceProps) {
  const { phase, text } = stream;
  const { title, provider } = ABOUT[name];
  return (
    <article
      className="sheet card"
      aria-labelledby={`voice-${name}`}
      aria-busy={isBusy(phase)}
      tabIndex={-1}
      data-phase={phase}
    >
      <header>
        <h2 id={`voice-${name}`}>{title}</h2>
        <span className="provider">{provider}</span>
        <span className="phase" data-phase={phase}>
          {phase}
        </span>
      </header>
      {text === '' ? (
        <p className="empty">{phase === 'idle' ? 'silent, until it is asked' : ''}</p>
      ) : (
        <Prose text={text} />
      )}
      <footer>
        <Facts state={stream} onRetry={onRetry} />
      </footer>
    </article>
  );
}
