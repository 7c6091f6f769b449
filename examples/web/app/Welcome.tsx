import { Wheel } from './Wheel.js';

const QUESTIONS = ['Why do rivers meander?', 'Which wheel is the best one?', 'What is a millrace?'];

/** What a chat shows before the first question. */
export function Welcome({ onAsk }: { readonly onAsk: (question: string) => void }) {
  return (
    <div className="welcome">
      <div className="scene">
        <Wheel isTurning />
        <svg className="water" viewBox="0 0 240 40" aria-hidden="true">
          <path d="M0 9q10-6 20 0t20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0V40H0Z" />
          <path d="M20 21q10-5 20 0t20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0 20 0M60 32q10-4 20 0t20 0 20 0 20 0 20 0 20 0" />
        </svg>
      </div>
      <h2>Ask the miller</h2>
      <p>
        He knows about rivers, wheels and the channels between them. His answers come from a server inside this program,
        frame by frame, as a provider would send them: no key, no network.
      </p>
      <ul aria-label="Questions to begin with">
        {QUESTIONS.map((question) => (
          <li key={question}>
            <button
              type="button"
              className="chip"
              onClick={() => {
                onAsk(question);
              }}
            >
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
