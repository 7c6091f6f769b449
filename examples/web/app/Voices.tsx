import { useStream } from 'millrace/react';
import { type SyntheticEvent, useEffect, useId, useState } from 'react';
import type { PanelProps } from './App.js';
import { ask } from './ask.js';
import { Choice } from './Choice.js';
import { useEscape } from './useEscape.js';
import { Voice } from './Voice.js';
import { isBusy } from './words.js';

const VOICES = ['overshot', 'breastshot', 'undershot'] as const;
type VoiceName = (typeof VOICES)[number];

const BREAKS = [
  { value: 'none', label: 'none' },
  { value: 'overshot', label: 'Overshot' },
  { value: 'breastshot', label: 'Breastshot' },
  { value: 'undershot', label: 'Undershot' },
] as const;

/** One question, three models of three providers at once. That one of them fails is no matter of the others. */
export function Voices({ isShown, onBusy }: PanelProps) {
  const [question, setQuestion] = useState('What does a river carry?');
  const [broken, setBroken] = useState<VoiceName | 'none'>('breastshot');
  const streams = {
    overshot: useVoice('overshot'),
    breastshot: useVoice('breastshot'),
    undershot: useVoice('undershot'),
  };
  const running = VOICES.filter((name) => isBusy(streams[name].phase));
  const isAnyBusy = running.length > 0;
  useEffect(() => {
    onBusy(isAnyBusy);
  }, [onBusy, isAnyBusy]);
  const startOne = (name: VoiceName, isBroken: boolean) => {
    streams[name].start(question, isBroken);
  };
  const stopAll = () => {
    for (const name of running) streams[name].stop();
  };
  useEscape(isShown && isAnyBusy, stopAll);
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (isAnyBusy) stopAll();
    else for (const name of VOICES) startOne(name, name === broken);
  };
  const id = useId();

  return (
    <div className="voices">
      <form className="ask-all" onSubmit={submit}>
        <label htmlFor={id}>One question, three wheels</label>
        <div className="row">
          <input
            id={id}
            required
            value={question}
            onChange={(event) => {
              setQuestion(event.target.value);
            }}
          />
          <button type="submit" className="main-button" data-stops={isAnyBusy}>
            {isAnyBusy ? 'Stop all' : 'Ask all three'}
          </button>
        </div>
        <Choice legend="Made to fail" options={BREAKS} value={broken} onChange={setBroken} />
      </form>
      <p className="visually-hidden" role="status">
        {VOICES.map((name) =>
          streams[name].phase === 'idle' || isBusy(streams[name].phase) ? '' : `${name}: ${streams[name].phase}. `,
        )}
      </p>
      <div className="cards">
        {VOICES.map((name) => (
          <Voice
            key={name}
            name={name}
            stream={streams[name]}
            onRetry={() => {
              startOne(name, false);
            }}
          />
        ))}
      </div>
    </div>
  );
}

function useVoice(name: VoiceName) {
  return useStream((question: string, isBroken: boolean) =>
    ask(`/api/voices/${name}`, {
      messages: [{ role: 'user', content: question }],
      trouble: isBroken ? 'fail' : 'none',
    }),
  );
}
