import type { StreamState } from 'millrace';
import type { ChatEntry } from 'millrace/react';
import { memo } from 'react';
import { Facts } from './Facts.js';
import { Prose } from './Prose.js';
import { isBusy } from './words.js';

interface MessageProps {
  readonly entry: ChatEntry;
  /** Given to the last answer. */
  readonly onRetry: (() => void) | undefined;
}

/** One question, or one answer as far as it has come. Those that are whole are not rendered again while the last one grows. */
export const Message = memo(function Message({ entry, onRetry }: MessageProps) {
  if (entry.role === 'user') {
    return (
      <article className="question" aria-label="You">
        <p>{entry.text}</p>
      </article>
    );
  }
  const { answer } = entry;
  const isComing = isBusy(answer.phase);
  return (
    <article className="answer" aria-label="The miller" data-phase={answer.phase}>
      {answer.thinking !== '' && <Thinking text={answer.thinking} isComing={isComing && answer.text === ''} />}
      {answer.text !== '' && <Prose text={answer.text} />}
      {isComing && answer.text === '' && answer.thinking === '' && <Waiting {...answer} />}
      <Facts state={answer} onRetry={onRetry} />
    </article>
  );
});

function Thinking({ text, isComing }: { readonly text: string; readonly isComing: boolean }) {
  return (
    <details className="thinking" data-coming={isComing}>
      <summary>{isComing ? 'Thinking …' : 'What he thought first'}</summary>
      <p>{text}</p>
    </details>
  );
}

/** Nothing has come yet: a task's state is told in the meantime. */
function Waiting({ phase, status }: Pick<StreamState, 'phase' | 'status'>) {
  return <p className="waiting">{phase === 'connecting' ? 'asking' : (status ?? 'waiting')}</p>;
}
