import type { StreamState } from 'millrace';
import { factsOf, noticeOf } from './words.js';

interface FactsProps {
  readonly state: StreamState;
  /** Given where an answer that nobody wanted to end can be asked for again. */
  readonly onRetry?: (() => void) | undefined;
}

/** What is to be said beside a stream's text: what is going on, how it ended, and what it took. */
export function Facts({ state, onRetry }: FactsProps) {
  const notice = noticeOf(state);
  const facts = factsOf(state);
  return (
    <>
      {notice && (
        <p className="notice" data-tone={notice.tone}>
          <span>{notice.text}</span>
          {onRetry && notice.tone === 'bad' && (
            <button
              type="button"
              className="plain-button"
              onClick={({ currentTarget }) => {
                // The button goes, and the focus would go with it.
                currentTarget.closest<HTMLElement>('[tabindex]')?.focus();
                onRetry();
              }}
            >
              Ask again
            </button>
          )}
        </p>
      )}
      {facts.length > 0 && (
        <ul className="facts" aria-label="Receipt">
          {facts.map((fact) => (
            <li key={fact}>{fact}</li>
          ))}
        </ul>
      )}
    </>
  );
}
