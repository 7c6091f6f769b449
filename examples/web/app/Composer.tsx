import { type KeyboardEvent, useId, useRef, useState } from 'react';
import type { Trouble } from './ask.js';
import { Choice } from './Choice.js';

const TROUBLES = [
  { value: 'none', label: 'holds' },
  { value: 'cut', label: 'is cut, and heals' },
  { value: 'fail', label: 'fails' },
] as const;

interface ComposerProps {
  /** An answer is on its way: the button stops it. */
  readonly isBusy: boolean;
  readonly trouble: Trouble;
  readonly onTrouble: (trouble: Trouble) => void;
  readonly onSend: (text: string) => void;
  readonly onStop: () => void;
}

/** Where a question is written. Enter sends it, Shift and Enter begin a new line. */
export function Composer({ isBusy, trouble, onTrouble, onSend, onStop }: ComposerProps) {
  const [text, setText] = useState('');
  const box = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const send = () => {
    const question = text.trim();
    if (question === '') return;
    setText('');
    onSend(question);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // An Enter that picks a word of an input method sends nothing.
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (isBusy) onStop();
        else send();
        box.current?.focus();
      }}
    >
      <label htmlFor={id} className="visually-hidden">
        Your question
      </label>
      <textarea
        id={id}
        ref={box}
        rows={1}
        value={text}
        placeholder="Ask the miller …"
        onKeyDown={onKeyDown}
        onChange={(event) => {
          setText(event.target.value);
        }}
      />
      <button type="submit" className="round-button" aria-label={isBusy ? 'Stop' : 'Send'} data-stops={isBusy}>
        <svg viewBox="0 0 24 24" aria-hidden="true">
          {isBusy ? <rect x="7" y="7" width="10" height="10" rx="2" /> : <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />}
        </svg>
      </button>
      <div className="composer-foot">
        <Choice legend="The connection" options={TROUBLES} value={trouble} onChange={onTrouble} />
        <p className="keys">
          <kbd>Enter</kbd> sends, <kbd>Esc</kbd> stops
        </p>
      </div>
    </form>
  );
}
