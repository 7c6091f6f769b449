import { useChat } from 'millrace/react';
import { useCallback, useEffect, useRef, useState } from 'react';
import type { PanelProps } from './App.js';
import { ask, type Trouble } from './ask.js';
import { Composer } from './Composer.js';
import { Message } from './Message.js';
import { useEscape } from './useEscape.js';
import { useScrollEnd } from './useScrollEnd.js';
import { Welcome } from './Welcome.js';
import { isBusy, isReconnecting } from './words.js';

/** A conversation with the miller. */
export function Chat({ isShown, onBusy }: PanelProps) {
  const [trouble, setTrouble] = useState<Trouble>('none');
  /** For the next request. What went wrong goes well when it is asked again. */
  const wanted = useRef<Trouble>('none');
  const { messages, phase, send, stop, retry } = useChat((turns) =>
    ask('/api/chat', { messages: turns, trouble: wanted.current }),
  );
  const sendText = (text: string) => {
    wanted.current = trouble;
    send(text);
  };
  const askAgain = useCallback(() => {
    wanted.current = 'none';
    retry();
  }, [retry]);
  const isAnswering = isBusy(phase);
  useEffect(() => {
    onBusy(isAnswering);
  }, [onBusy, isAnswering]);
  useEscape(isShown && isAnswering, stop);
  const log = useScrollEnd<HTMLDivElement>(messages, messages.filter(({ role }) => role === 'user').length);
  const last = messages.at(-1);

  return (
    <>
      <div className="log" ref={log} tabIndex={0} role="log" aria-label="Conversation" aria-busy={isAnswering}>
        {messages.length === 0 && <Welcome onAsk={sendText} />}
        {messages.map((entry) => (
          <Message key={entry.id} entry={entry} onRetry={entry === last ? askAgain : undefined} />
        ))}
      </div>
      {/* The log is read out when an answer is whole; this tells what happens until then. */}
      <p className="visually-hidden" role="status">
        {last?.role === 'assistant' &&
          (isReconnecting(last.answer) ? 'Connection lost, going on' : WORDS[last.answer.phase])}
      </p>
      <Composer isBusy={isAnswering} trouble={trouble} onTrouble={setTrouble} onStop={stop} onSend={sendText} />
    </>
  );
}

const WORDS = {
  idle: '',
  connecting: 'Asking the miller',
  waiting: 'The miller is thinking',
  streaming: 'The miller answers',
  complete: 'The answer is complete',
  failed: 'The answer broke off',
  interrupted: 'The answer broke off',
  stopped: 'Stopped',
} as const;
